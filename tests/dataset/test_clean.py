"""The clean stage drops rows with a null in any column, and counts them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from hypothesis import given
from hypothesis import strategies as st
from support import Script, fails_in_one_line

from landmarks.dataset import catalogues

CELLS = st.sampled_from(["", " ", "NaN", "nan", "None", "x", "0", "none of these", " y "])


def test_empty_nan_and_the_string_none_are_nulls(script: Script, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,url,landmark_id\na,u,1\nb,None,1\nc,,2\nd,u,NaN\ne,u,None\nf,u,2\n")
    assert script("clean", tmp_path / "in.csv", tmp_path / "out.parquet", tmp_path / "counts.json").returncode == 0
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet")["id"].to_pylist() == ["a", "f"]
    assert json.loads((tmp_path / "counts.json").read_text()) == {
        "rows": 6, "nulls": 4, "null_id": 0, "null_url": 2, "null_landmark_id": 2, "kept": 2, "landmarks": 2,
    }  # fmt: skip


def test_a_catalogue_of_nulls_only_is_an_error(script: Script, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,url,landmark_id\na,None,1\n")
    done = script("clean", tmp_path / "in.csv", tmp_path / "o", tmp_path / "c")
    fails_in_one_line(done, "in.csv", "every row has a null")
    assert not (tmp_path / "o").exists()


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1))
def test_what_is_kept_has_no_null_and_keeps_its_order(rows: list[tuple[str, str, str]]) -> None:
    table = pa.record_batch([list(column) for column in zip(*rows, strict=True)], catalogues.COLUMNS)
    kept, counts = catalogues.clean(table)
    expected = [tuple(c.strip() for c in row) for row in rows if not {c.strip() for c in row} & set(catalogues.NULLS)]
    assert [tuple(row.values()) for row in kept.to_pylist()] == expected
    assert counts["rows"] - counts["nulls"] == counts["kept"] == len(expected)
