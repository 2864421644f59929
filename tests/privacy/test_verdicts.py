"""What a person decided is read from a CSV, row by row, and applies to one box of one photo."""

import csv
import io
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import examples, gate_settings

from landmarks.common.errors import InputError
from landmarks.privacy import gate, redaction, verdicts
from landmarks.privacy.redaction import Face
from landmarks.privacy.verdicts import PhotoVerdicts, Verdict

A, B = "a" * 64, "b" * 64
HEADER = "source,photo,x,y,w,h,verdict\n"

sides = st.integers(-50, 400)
boxes = st.tuples(sides, sides, st.integers(1, 300), st.integers(1, 300))
faces = st.lists(st.builds(Face, sides, sides, st.integers(1, 300), st.integers(1, 300), st.floats(0.2, 1)), max_size=8)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
decisions = st.one_of(
    st.tuples(boxes, st.sampled_from(["face", "not_a_face"])),
    st.tuples(st.none(), st.sampled_from(["pass", "stay_out"])),
)


@st.composite
def files(draw: st.DrawFn) -> list[Verdict]:
    """Verdicts of which no two are about the same thing."""
    made = draw(st.dictionaries(st.tuples(st.sampled_from([A, B]), st.integers(0, 9)), st.tuples(decisions, names)))
    kept = {(source, box): (source, name, box, what) for (source, _), ((box, what), name) in made.items()}
    return [Verdict(*each, row=row) for row, each in enumerate(kept.values(), 2)]  # type: ignore[arg-type]


def written(path: Path, rows: list[Verdict]) -> Path:
    text = io.StringIO()
    lines = [[one.source, one.photo, *(one.box or ("",) * 4), one.verdict] for one in rows]
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([verdicts.COLUMNS, *lines])
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path


@settings(max_examples=examples(100))
@given(rows=files())
def test_what_is_written_is_read(rows: list[Verdict], tmp_path_factory: pytest.TempPathFactory) -> None:
    assert verdicts.read(written(tmp_path_factory.getbasetemp() / "verdicts.csv", rows)) == rows


@given(rows=files(), random=st.randoms())
def test_the_order_of_rows_decides_nothing(rows: list[Verdict], random: Random) -> None:
    shuffled = random.sample(rows, len(rows))
    assert verdicts.by_source(shuffled) == verdicts.by_source(rows)
    assert all(decided.record() for decided in verdicts.by_source(rows).values())
    assert sum(
        len(one.faces) + len(one.not_faces) + bool(one.whole) for one in verdicts.by_source(rows).values()
    ) == len(rows)


def test_the_committed_file_has_the_columns(tmp_path: Path) -> None:
    (tmp_path / "verdicts.csv").write_text(HEADER)
    assert verdicts.read(tmp_path / "verdicts.csv") == []


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        (f"{A[1:]},p,1,2,3,4,face", ("row 2: source", "SHA-256")),
        (f"{A.upper()},p,1,2,3,4,face", ("row 2: source", "lower case")),
        (f"{A},p,1,2,3,4,maybe", ("row 2: verdict 'maybe'", "face, not_a_face, pass, stay_out")),
        (f"{A},p,1,2,3,,face", ("row 2: x, y, w, h", "no box in whole pixels")),
        (f"{A},p,1,2,0,4,not_a_face", ("row 2: x, y, w, h", "no box in whole pixels")),
        (f"{A},p,1.5,2,3,4,face", ("row 2: x, y, w, h", "1.5")),
        (f"{A},p,1,2,3,4,pass", ("row 2: pass is about the whole photo", "leave x, y, w, h empty")),
        (f"{A},p,1,2,3,4,face\n{A},q,1,2,3,4,not_a_face", ("row 3: not_a_face contradicts face in row 2", "same box")),
        (f"{A},p,,,,,stay_out\n{A},p,,,,,pass", ("row 3: pass contradicts stay_out in row 2", "same photo; remove one")),
    ],
)  # fmt: skip
def test_a_row_that_is_none_is_an_error_that_names_it(row: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "verdicts.csv").write_text(f"{HEADER}{row}\n")
    with pytest.raises(InputError) as error:
        verdicts.read(tmp_path / "verdicts.csv")
    for part in ("verdicts.csv: ", *parts):
        assert part in str(error.value)


def test_the_same_row_twice_is_one_verdict(tmp_path: Path) -> None:
    """As where the files of two people are put together."""
    (tmp_path / "verdicts.csv").write_text(HEADER + f"{A},p,1,2,3,4,face\n" * 2)
    assert len(verdicts.read(tmp_path / "verdicts.csv")) == 1


@settings(max_examples=examples(300))
@given(found=faces, drawn=st.sets(boxes, max_size=3), rejected=st.sets(boxes, max_size=3), data=st.data())
def test_a_verdict_leaves_its_own_box_readable_and_no_other(
    found: list[Face], drawn: set[redaction.Box], rejected: set[redaction.Box], data: st.DataObject
) -> None:
    if found:  # the usual case: what is rejected was detected
        rejected |= {redaction.box_of(face) for face in data.draw(st.sets(st.sampled_from(found), max_size=3))}
    decided = PhotoVerdicts(faces=tuple(sorted(drawn - rejected)), not_faces=tuple(sorted(rejected)))

    class Found(gate.GateSettings):
        def look(self, picture: redaction.Picture) -> list[redaction.Face]:
            return found

    used = Found(**{**vars(gate_settings()), "confidence": 0.5, "recheck": 0.2})
    picture = np.zeros((9, 9, 3), np.uint8)
    before = used.faces_to_obscure(picture)
    obscured, readable = used.first_look(picture, decided)
    assert set(decided.faces) <= {redaction.box_of(face) for face in obscured}
    cleared = [face for face in before if redaction.box_of(face) not in {redaction.box_of(kept) for kept in obscured}]
    assert len({redaction.box_of(face) for face in cleared}) <= len(decided.not_faces)
    for face in cleared:
        assert max(verdicts.overlap(redaction.box_of(face), box) for box in decided.not_faces) > verdicts.SAME
        assert face in readable
    for box in decided.not_faces:
        if box in {redaction.box_of(face) for face in found}:
            assert any(verdicts.overlap(redaction.box_of(face), box) == 1 for face in readable)


@given(boxes, boxes)
def test_overlap_is_symmetric_and_1_for_the_same_box_alone(one: redaction.Box, other: redaction.Box) -> None:
    shared = verdicts.overlap(one, other)
    assert shared == verdicts.overlap(other, one)
    assert 0 <= shared <= 1
    assert (shared == 1) == (one == other)


def test_a_verdict_that_decides_nothing_is_named_with_its_row_and_the_reason() -> None:
    box = (10, 10, 50, 60)
    rows = [
        Verdict(A, "here", box, "not_a_face", 2),
        Verdict(A, "here", (200, 10, 50, 60), "not_a_face", 3),
        Verdict(A, "here", (200, 10, 50, 60), "face", 4),
        Verdict(B, "gone", box, "face", 5),
        Verdict("c" * 64, "broken", None, "pass", 6),
        Verdict("d" * 64, "out", None, "stay_out", 7),
    ]
    assert verdicts.unused(rows, {A: [(11, 10, 50, 60)]}, ["c" * 64, "d" * 64]) == [
        "row 3 (here, not_a_face): nothing is found in this box",
        "row 5 (gone, face): no photo has this content",
        "row 6 (broken, pass): the photo cannot be read",
    ]
