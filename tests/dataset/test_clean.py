"""The clean stage drops rows with a null in any column, and counts them."""

import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Script, fails_in_one_line

from landmarks.dataset import catalogues

CELLS = st.sampled_from(["", " ", "NaN", "nan", "None", "NULL", r" \N", "x", "0", "none of these", " y ", "1e3", "Nan"])
# the default na_values in the documentation of pandas.read_csv, and what databases and the Kaggle file of 2018 write
PANDAS = ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
          "NULL", "NaN", "None", "n/a", "nan", "null"]  # fmt: skip
NULLS = [*PANDAS, "none", "NONE", "nONE", r"\N", r"\n"]


def test_empty_nan_and_the_string_none_are_nulls(script: Script, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,url,landmark_id\na,u,1\nb,None,1\nc,,2\nd,u,NaN\ne,u,None\nf,u,2\n")
    assert script("clean", tmp_path / "in.csv", tmp_path / "out.parquet", tmp_path / "counts.json").returncode == 0
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet")["id"].to_pylist() == ["a", "f"]
    assert json.loads((tmp_path / "counts.json").read_text()) == {
        "rows": 6, "nulls": 4, "null_id": 0, "null_url": 2, "null_landmark_id": 2, "kept": 2, "landmarks": 2,
    }  # fmt: skip


@pytest.mark.parametrize("null", NULLS)
def test_what_others_read_as_null_is_no_landmark(script: Script, tmp_path: Path, null: str) -> None:
    (tmp_path / "in.csv").write_text(f'id,url,landmark_id\na,u,{null}\nb,u," {null}"\nc,{null},1\nd,u,1\n')
    assert script("clean", tmp_path / "in.csv", tmp_path / "out.parquet", tmp_path / "counts.json").returncode == 0
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet")["id"].to_pylist() == ["d"]


def test_a_null_is_one_of_pandas_or_is_called_none_or_is_that_of_a_database() -> None:
    cells = "x\n" + "\n".join(f'"{null}"' for null in catalogues.NULLS)
    read = pd.read_csv(io.StringIO(cells), skip_blank_lines=False)["x"]
    assert set(PANDAS) == {null for null, is_null in zip(catalogues.NULLS, read.isna(), strict=True) if is_null}
    assert {null.lower() for null in set(catalogues.NULLS).difference(PANDAS)} == {"none", r"\n"}


def test_an_integer_that_is_written_as_a_float_is_the_integer(script: Script, tmp_path: Path) -> None:
    given = ["9633", "9633.0", " 9633.00 ", "9633.", "1e3", "2.5", "9633.01", "0.0", "v1.0", "-3.0"]
    rows = "".join(f"a{number},u,{landmark}\n" for number, landmark in enumerate(given))
    (tmp_path / "in.csv").write_text("id,url,landmark_id\n" + rows)
    assert script("clean", tmp_path / "in.csv", tmp_path / "out.parquet", tmp_path / "counts.json").returncode == 0
    cleaned = pyarrow.parquet.read_table(tmp_path / "out.parquet")["landmark_id"].to_pylist()
    assert cleaned == ["9633", "9633", "9633", "9633", "1e3", "2.5", "9633.01", "0", "v1.0", "-3"]


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
