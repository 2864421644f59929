"""The anonymize stage does what a person decided, on the photo that was looked at and on no other."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_runs import OUTPUTS, QUICK, save_portraits, stage
from support import Done, Script, fails_in_one_line, gate_settings

from landmarks.common.files import sha256
from landmarks.images import decoding
from landmarks.privacy import gate, redaction, verdicts
from landmarks.privacy.redaction import Box
from landmarks.privacy.verdicts import PhotoVerdicts


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_portraits(tmp_path_factory.mktemp("portraits"))


class Run:
    """The stage on two portraits, run again with verdicts."""

    def __init__(self, script: Script, portraits: Path, folder: Path) -> None:
        self.script, self.folder, self.originals = script, folder, folder / "in"
        self.originals.mkdir()
        for name in ("upright0", "upright1"):
            shutil.copy(portraits / f"{name}.jpg", self.originals)

    def decide(self, *rows: tuple[str, Box | None, str]) -> Done:
        """Run with a verdict for each name of a photo, box and decision."""
        lines = [
            f"{sha256(self.originals / f'{photo}.jpg')},{photo},{','.join(map(str, box or ('',) * 4))},{verdict}\n"
            for photo, box, verdict in rows
        ]
        (self.folder / "verdicts.csv").write_text(f"{','.join(verdicts.COLUMNS)}\n{''.join(lines)}")
        return self.again()

    def again(self) -> Done:
        done = stage(self.script, self.originals, self.folder, self.folder / "verdicts.csv", *QUICK)
        assert done.returncode == 0, done.stderr
        return done

    def audit(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "faces.json").read_text()))

    def face(self, photo: str) -> Box:
        """The surest detection."""
        face = max(self.audit()["photos"][photo]["faces"], key=lambda one: one["score"])
        return face["x"], face["y"], face["w"], face["h"]

    def changed(self, photo: str, box: Box) -> float:
        """By how much the result differs from the original in a box, on average, of 255."""
        x, y, w, h = box
        both = [decoding.read(path / f"{photo}.jpg") for path in (self.originals, self.folder / "anonymous")]
        before, after = (picture[y : y + h, x : x + w].astype(int) for picture in both)
        return float(np.abs(before - after).mean())


@pytest.fixture
def run(script: Script, portraits: Path, tmp_path: Path) -> Run:
    made = Run(script, portraits, tmp_path)
    assert "2 of 2 photos examined" in made.decide().stdout
    return made


def test_a_box_without_a_face_stays_readable_and_its_photo_alone_is_examined_again(run: Run) -> None:
    box = run.face("upright0")
    assert run.changed("upright0", box) > 10
    other = (run.folder / "anonymous" / "upright1.jpg").stat().st_mtime_ns
    done = run.decide(("upright0", box, "not_a_face"))
    assert "1 of 2 photos examined" in done.stdout
    assert run.changed("upright0", box) < 3
    assert (run.folder / "anonymous" / "upright1.jpg").stat().st_mtime_ns == other
    assert run.audit()["photos"]["upright0"]["verdicts"] == {"not_a_face": [list(box)]}
    assert "0 of 2 photos examined" in run.again().stdout
    assert "1 of 2 photos examined" in run.decide().stdout  # taken back
    assert run.changed("upright0", box) > 10


def test_a_box_that_a_person_calls_a_face_is_obscured_although_no_detector_finds_one(run: Run) -> None:
    box = (5, 5, 60, 40)
    assert run.changed("upright1", box) < 3
    run.decide(("upright1", box, "face"))
    assert run.changed("upright1", box) > 10
    assert run.changed("upright1", run.face("upright1")) > 10
    drawn = {"x": 5, "y": 5, "w": 60, "h": 40, "score": 1.0, "pass": 1}
    assert drawn in run.audit()["photos"]["upright1"]["faces"]


def test_a_detection_that_is_confirmed_is_one_face(run: Run) -> None:
    faces = run.audit()["faces"]
    run.decide(("upright0", run.face("upright0"), "face"))
    assert run.audit()["faces"] == faces


def test_a_verdict_applies_to_the_photo_under_another_name_and_not_to_another_under_its_name(run: Run) -> None:
    box = run.face("upright0")
    run.decide(("upright0", box, "not_a_face"))
    for before, after in (("upright0", "moved"), ("upright1", "upright0")):
        (run.originals / f"{before}.jpg").rename(run.originals / f"{after}.jpg")
    done = run.again()
    assert run.changed("moved", box) < 3
    assert run.changed("upright0", run.face("upright0")) > 10
    assert "decide nothing" not in done.stderr
    (run.originals / "moved.jpg").unlink()
    done = run.again()
    unused = "row 2 (upright0, not_a_face): no photo has this content"
    assert f"1 of 1 verdicts decide nothing now: {unused}" in done.stderr
    assert run.audit()["unused_verdicts"] == [unused]


def test_a_box_in_which_nothing_is_found_is_named(run: Run) -> None:
    done = run.decide(("upright0", (1, 1, 20, 20), "not_a_face"))
    assert (
        "1 of 1 verdicts decide nothing now: row 2 (upright0, not_a_face): nothing is found in this box" in done.stderr
    )


def test_a_photo_that_stays_out_counts_for_no_limit(run: Run) -> None:
    run.decide(("upright0", None, "stay_out"))
    assert not (run.folder / "anonymous" / "upright0.jpg").exists()
    assert f"upright0,{gate.KEPT_OUT}" in (run.folder / "quarantine.csv").read_text()
    assert run.audit()["quarantined"] == 1
    outputs = [run.folder / name for name in ("anonymous", "photos.csv", *OUTPUTS, "verdicts.csv")]
    done = run.script("anonymize", run.originals, *outputs, *QUICK, "--max-quarantined", 0)
    assert done.returncode == 0, done.stderr


def test_a_photo_that_may_pass_passes_as_far_as_it_is_obscured(portraits: Path, tmp_path: Path) -> None:
    class Stubborn(gate.GateSettings):  # a detector that sees a face whatever is done to it
        def look(self, picture: redaction.Picture) -> list[redaction.Face]:
            return [redaction.Face(9, 9, 40, 40, 0.9)]

        def look_again(self, picture: redaction.Picture, obscured: list[redaction.Face]) -> list[redaction.Face]:
            return self.look(picture)

    settings, original = Stubborn(**vars(gate_settings())), portraits / "upright0.jpg"
    with pytest.raises(gate.QuarantineError, match=gate.STILL_FOUND):
        gate.examine(original, tmp_path / "out.jpg", settings)
    decided = {sha256(original): PhotoVerdicts(whole="pass")}
    passed = gate.examine(original, tmp_path / "out.jpg", settings, decided)
    assert len(passed.faces) == settings.passes
    assert decoding.read(tmp_path / "out.jpg")[12:46, 12:46].std() < 2  # grey
    content = portraits / "web-page.jpg"
    with pytest.raises(gate.QuarantineError, match="cannot be read"):
        gate.examine(content, tmp_path / "no.jpg", settings, {sha256(content): PhotoVerdicts(whole="pass")})


def test_a_file_of_verdicts_that_is_named_must_be_there_and_sound(script: Script, run: Run) -> None:
    outputs = [run.folder / name for name in ("anonymous", "photos.csv", *OUTPUTS)]
    fails_in_one_line(
        script("anonymize", run.originals, *outputs, run.folder / "no.csv", *QUICK), "no.csv: no such file"
    )
    (run.folder / "verdicts.csv").write_text("source,verdict\n")
    fails_in_one_line(
        script("anonymize", run.originals, *outputs, run.folder / "verdicts.csv", *QUICK), "no column 'photo'"
    )


def test_of_a_folder_of_ones_own_the_verdicts_lie_beside_the_results(script: Script, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert script("anonymize", run.originals, out, *QUICK).returncode == 0
    box = run.face("upright0")
    row = f"{sha256(run.originals / 'upright0.jpg')},upright0,{','.join(map(str, box))},not_a_face\n"
    (out / "verdicts.csv").write_text(f"{','.join(verdicts.COLUMNS)}\n{row}")
    assert script("anonymize", run.originals, out, *QUICK).returncode == 0
    records = json.loads((out / "faces.json").read_text())["photos"]
    assert [bool(record["verdicts"]) for record in records.values()] == [True, False]
