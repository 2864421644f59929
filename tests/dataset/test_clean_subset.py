"""A cleaned list, as Google Landmarks v2's train_clean.csv, says which photos of a catalogue are kept."""

import json
import tempfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Done, Script, fails_in_one_line

from landmarks.dataset import catalogues, clean_subset, table_files

CLEAN = (
    "landmark_id,images\n1,17660ef415d37059 92b6290d571448f6 cd41bf948edc0340\n7,25c9dfc7ea69838d 28b13f94a6f1f3c1\n"
)
TRAIN = (
    "id,url,landmark_id\nffffffffffffffff,http://x/0,1\n28b13f94a6f1f3c1,http://x/1,7\n92b6290d571448f6,http://x/2,1.0\n"
    "0000000000000000,http://x/3,None\n17660ef415d37059,http://x/4,5\n17660ef415d37059a,http://x/5,1\n"
)


def run(script: Script, folder: Path, train: str = TRAIN, clean: str | bytes = CLEAN) -> Done:
    (folder / "train.csv").write_text(train)
    (folder / "train_clean.csv").write_bytes(clean.encode() if isinstance(clean, str) else clean)
    sources = ("--source", folder / "train.csv", "--clean", folder / "train_clean.csv")
    return script("catalogue", folder / "out.csv", folder / "counts.json", *sources)


def test_only_the_photos_of_the_list_are_kept_under_its_landmarks(script: Script, tmp_path: Path) -> None:
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr
    rows = catalogues.read(tmp_path / "out.csv").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("28b13f94a6f1f3c1", "http://x/1", "7"),
        ("92b6290d571448f6", "http://x/2", "1"),
        ("17660ef415d37059", "http://x/4", "1"),
    ]
    assert json.loads((tmp_path / "counts.json").read_text()) == {"rows": 3}
    assert "3 of 6 rows are kept; 2 photos of" in done.stderr
    assert "have no row, 1 rows had another landmark_id" in done.stderr


@pytest.mark.parametrize(
    "clean",
    [
        'images;landmark_id\n 17660ef415d37059  92b6290d571448f6 ;1.0\n"";3\n',
        "landmark_id,images\r\n1,17660ef415d37059\r\n1,92b6290d571448f6 17660ef415d37059",
        "id,landmark_id\n17660ef415d37059,1\n92b6290d571448f6,1\n".encode("utf-16"),
    ],
)
def test_the_list_may_be_written_in_other_ways(script: Script, tmp_path: Path, clean: str) -> None:
    done = run(script, tmp_path, clean=clean)
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert list(zip(rows["id"], rows["landmark_id"], strict=True)) == [
        ("92b6290d571448f6", "1"),
        ("17660ef415d37059", "1"),
    ]


@pytest.mark.parametrize(
    ("clean", "problem"),
    [
        ("landmark_id,images\n1,aa bb\n2,bb\n", "the photo 'bb' is under the landmarks 1 and 2"),
        ("landmark_id,images\n1,aa ../bb\n", "'../bb' is no id"),
        ("landmark_id,images\n1,\n", "names no photo"),
        ("landmark_id,images\n", "no rows"),
        ("landmark_id,pictures\n1,aa\n", "no column 'images'"),
        ("landmark_id,images\n1,aa bb\n", "none of its photos is in"),
        ("<html>", "HTML"),
        ("", "empty"),
    ],
)
def test_a_wrong_list_ends_in_one_line_that_names_it(script: Script, tmp_path: Path, clean: str, problem: str) -> None:
    done = run(script, tmp_path, clean=clean)
    fails_in_one_line(done, str(tmp_path / "train_clean.csv"), problem)
    assert not (tmp_path / "out.csv").exists()


def test_a_list_that_is_missing_is_named_with_its_parameter(script: Script, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(TRAIN)
    options = ("--source", tmp_path / "train.csv", "--clean", tmp_path / "none.csv")
    fails_in_one_line(script("catalogue", tmp_path / "o", tmp_path / "c", *options), "none.csv", "set catalogue.clean")


IDS = st.text("ab1", min_size=1, max_size=3)


@given(st.dictionaries(IDS, st.sampled_from(["1", "2", "x"]), min_size=1), st.lists(IDS, unique=True))
def test_the_selection_is_that_of_a_dictionary(clean: dict[str, str], ids: list[str]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        file.write("landmark_id,images\n" + "".join(f"{landmark},{photo}\n" for photo, landmark in clean.items()))
        file.flush()
        subset = clean_subset.CleanSubset(table_files.TableFile(Path(file.name), "clean"))
    batch = pa.record_batch([ids, ids, ["1"] * len(ids)], catalogues.SCHEMA)
    kept = [row for part in subset.select([batch], Counter()) for row in part.to_pylist()]
    assert [(row["id"], row["landmark_id"]) for row in kept] == [(one, clean[one]) for one in ids if one in clean]
