"""The review page asks what the gate was least sure of, and lies where nobody publishes it."""

import json
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support import Script, examples, fails_in_one_line, gate_settings

from landmarks.common.files import sha256, write_json
from landmarks.privacy import gate, redaction, verdicts
from landmarks.reporting import review

sides = st.integers(0, 300)
detections = st.builds(
    lambda x, y, w, h, score, look: {"x": x, "y": y, "w": w, "h": h, "score": score, "pass": look},
    sides, sides, st.integers(1, 90), st.integers(1, 90), st.floats(0.2, 0.99), st.integers(1, 3),
)  # fmt: skip
records = st.fixed_dictionaries({
    "source": st.sampled_from("abcd").map(lambda digit: digit * 64),
    "faces": st.lists(detections, max_size=4),
    "readable": st.lists(detections, max_size=4),
    "verdicts": st.just({}),
})  # fmt: skip
audits = st.dictionaries(st.text(min_size=1, max_size=4), records, max_size=6)


@settings(max_examples=examples(100))
@given(audits, st.integers(0, 30))
def test_as_many_as_wanted_are_asked_the_least_certain_first(photos: dict[str, Any], count: int) -> None:
    every, none = review.least_certain(photos, 1000)
    asked, left_out = review.least_certain(photos, count)
    assert none == 0
    assert len(asked) == min(count, len(every))
    assert len(asked) + left_out == len(every)
    assert len({(one.source, one.box) for one in every if one.kind == "obscured"}) == sum(
        one.kind == "obscured" for one in every
    )  # a photo under two names is asked about once
    for kind, sign in (("readable", -1), ("obscured", 1)):
        scores = [sign * (one.score or 0) for one in asked if one.kind == kind]
        others = [sign * (one.score or 0) for one in every if one.kind == kind][len(scores) :]
        assert scores == sorted(scores)
        assert not scores or not others or scores[-1] <= min(others)
        if others:  # each kind may have half
            assert len(scores) >= count // 2


@given(audits, st.integers(0, 9))
def test_some_photos_in_which_nothing_was_found_are_shown_for_what_was_missed(
    photos: dict[str, Any], count: int
) -> None:
    asked = review.unmarked(photos, count)
    empty = {record["source"] for record in photos.values() if not record["faces"] + record["readable"]}
    assert len({one.source for one in asked}) == len(asked) == min(count, len(empty))
    assert all(photos[one.photo]["source"] == one.source in empty for one in asked)
    again = review.unmarked(dict(reversed(photos.items())), count)
    assert [one.source for one in again] == [one.source for one in asked]


def face(x: int, score: float, look: int = 1, side: int = 40) -> dict[str, Any]:
    return {"x": x, "y": 20, "w": side, "h": side, "score": score, "pass": look}


def test_what_was_decided_or_lies_in_a_cover_is_not_asked() -> None:
    faces = [face(0, 1.0), face(100, 0.6), face(95, 0.3, look=2, side=50), face(102, 0.2, look=2, side=20)]
    readable = [face(200, 0.25), face(300, 0.21)]
    decided = {"face": [[0, 20, 40, 40]], "not_a_face": [[201, 20, 40, 40]]}
    record = {"source": "a" * 64, "faces": faces, "readable": readable, "verdicts": decided}
    asked, _ = review.least_certain({"p": record}, 10)
    assert [(one.kind, one.box and one.box[0]) for one in asked] == [
        ("readable", 300),
        ("obscured", 95),
        ("obscured", 100),
    ]


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    """Two photos, what the gate would leave of them, and a third in quarantine that is none."""
    (tmp_path / "in" / "trip").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    passed = {}
    for number, name in enumerate(("trip/<b>&amp;", "two")):
        original = shutil.copy(photos / "images" / f"p1_0{number}.jpg", tmp_path / "in" / f"{name}.jpg")
        readable = [{k: v for k, v in face(50, 0.21 + number / 100).items() if k != "pass"}]
        passed[name] = {
            "source": sha256(Path(original)), "sha256": "", "looks": 2, "faces": [face(10, 0.3), face(-30, 0.4)],
            "readable": readable, "verdicts": {},
        }  # fmt: skip
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no photo")
    (tmp_path / "out" / "quarantine.csv").write_text("id,reason\nbroken,cannot be read: not a photo\n")
    write_json(tmp_path / "out" / "faces.json", {"photos": passed})
    return tmp_path


def facts(page: Path) -> dict[str, Any]:
    """What a page was made of."""
    found = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def test_the_page_asks_of_the_originals_and_needs_no_network(script: Script, folder: Path) -> None:
    page = folder / "review.html"
    done = script("review", folder / "in", folder / "out", "--page", page)
    assert done.returncode == 0, done.stderr
    asked = facts(page)["questions"]
    assert [(one["kind"], one["score"]) for one in asked] == [
        ("readable", 0.22), ("readable", 0.21), ("obscured", 0.3), ("obscured", 0.3), ("obscured", 0.4), ("obscured", 0.4),
    ]  # fmt: skip
    assert {one["photo"] for one in asked} == {"trip/<b>&amp;", "two"}
    text = page.read_text()
    assert "<b>" not in text
    assert "cannot be read: not a photo" in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "http" not in re.sub(r"http://www.w3.org/2000/svg|http-equiv", "", text)
    assert f"python src/anonymize.py {folder / 'in'} {folder / 'out'}" in done.stdout


def test_the_page_says_in_its_first_line_that_it_is_private_and_only_its_owner_reads_it(
    script: Script, folder: Path
) -> None:
    page = folder / "review.html"
    done = script("review", folder / "in", folder / "out", "--page", page)
    assert page.read_text().splitlines()[0].startswith("<!-- PRIVATE: readable faces")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert "do not commit, push or send it" in done.stdout


@pytest.mark.parametrize("place", ["in", "out"])
def test_the_page_is_not_written_to_where_photos_lie(script: Script, folder: Path, place: str) -> None:
    page = folder / place / "deep" / "review.html"
    done = script("review", folder / "in", folder / "out", "--page", page)
    fails_in_one_line(done, str(page), "readable faces", "--page")
    assert not page.exists()


def test_what_is_left_out_is_counted_on_the_page(script: Script, folder: Path) -> None:
    page = folder / "review.html"
    assert script("review", folder / "in", folder / "out", "--page", page, "--detections", 2).returncode == 0
    assert len(facts(page)["questions"]) == 2
    assert "4 more detections or photos are not on this page" in page.read_text()


def test_a_photo_that_changed_since_is_not_shown_and_counted(script: Script, folder: Path) -> None:
    page = folder / "review.html"
    (folder / "in" / "two.jpg").write_bytes((folder / "in" / "two.jpg").read_bytes() + b"more")
    assert script("review", folder / "in", folder / "out", "--page", page).returncode == 0
    assert {one["photo"] for one in facts(page)["questions"]} == {"trip/<b>&amp;"}
    assert "3 are not on it since their original is missing or has changed" in page.read_text()
    shutil.rmtree(folder / "in" / "trip")
    fails_in_one_line(
        script("review", folder / "in", folder / "out", "--page", page), "none of the photos", "name both"
    )


def test_the_page_stays_small_whatever_the_photos(script: Script, folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), np.uint8)
    Image.fromarray(noise).resize((4000, 3000)).save(folder / "in" / "two.jpg", quality=95)
    audit = json.loads((folder / "out" / "faces.json").read_text())
    audit["photos"]["two"]["source"] = sha256(folder / "in" / "two.jpg")
    write_json(folder / "out" / "faces.json", audit)
    page = folder / "review.html"
    assert script("review", folder / "in", folder / "out", "--page", page).returncode == 0
    shown = facts(page)
    assert max(len(photo["picture"]) for photo in shown["photos"].values()) < 400_000
    assert {tuple(photo["region"]) for photo in shown["photos"].values()} >= {(0, 0, 4000, 3000)}


def test_verdicts_given_before_are_part_of_what_is_saved(script: Script, folder: Path) -> None:
    row = f"{'e' * 64},elsewhere,1,2,3,4,face"
    (folder / "out" / "verdicts.csv").write_text(f"{','.join(verdicts.COLUMNS)}\n{row}\n")
    page = folder / "review.html"
    assert script("review", folder / "in", folder / "out", "--page", page).returncode == 0
    assert facts(page)["earlier"] == [["e" * 64, "elsewhere", 1, 2, 3, 4, "face"]]


def test_a_photo_in_quarantine_is_shown_as_it_would_pass(folder: Path) -> None:
    class Stubborn(gate.GateSettings):  # a detector that sees a face whatever is done to it
        def look(self, picture: redaction.Picture) -> list[redaction.Face]:
            return [redaction.Face(100, 100, 40, 60, 0.9)]

        def look_again(self, picture: redaction.Picture, obscured: list[redaction.Face]) -> list[redaction.Face]:
            return self.look(picture)

    used = Stubborn(**{**vars(gate_settings()), "passes": 2, "margin": 0.5})
    reason = f"{gate.STILL_FOUND} after 2 passes (score 0.9)"
    prepared = review.prepare([], {"two": reason}, {"two": folder / "in" / "two.jpg"}, used, {}, 0)
    (question,) = prepared.questions
    assert question.kind == "quarantined"
    assert question.found == ((100, 100, 40, 60),)
    assert question.cover == ((100, 100, 40, 60), (80, 70, 80, 120))  # the second cover reached further
    assert prepared.hopeless == []


def test_without_a_run_or_with_an_audit_of_another_version_the_way_out_is_named(script: Script, folder: Path) -> None:
    page = folder / "review.html"
    audit = json.loads((folder / "out" / "faces.json").read_text())
    del audit["photos"]["two"]["readable"]
    write_json(folder / "out" / "faces.json", audit)
    fails_in_one_line(
        script("review", folder / "in", folder / "out", "--page", page), "faces.json", "run the anonymize"
    )
    (folder / "out" / "quarantine.csv").unlink()
    fails_in_one_line(
        script("review", folder / "in", folder / "out", "--page", page), "quarantine.csv", "run the anonymize"
    )


def test_where_too_many_photos_did_not_pass_the_quarantine_alone_is_asked(script: Script, folder: Path) -> None:
    (folder / "out" / "faces.json").unlink()  # that stage failed
    page = folder / "review.html"
    assert script("review", folder / "in", folder / "out", "--page", page).returncode == 0
    assert facts(page)["questions"] == []
