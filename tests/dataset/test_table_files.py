"""Catalogues in the formats that people have: read, or called by their names in one line."""

import bz2
import gzip
import io
import json
import sqlite3
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from support import Host, Script, fails_in_one_line

from landmarks.common.errors import InputError
from landmarks.dataset import catalogues, table_files

ROWS = [{"id": f"a{n}", "url": f"http://x/ñ {n}.jpg", "landmark_id": str(n % 7)} for n in range(5000)]
TABLE = pd.DataFrame(ROWS)
CSV = TABLE.to_csv(index=False)


def zipped(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def parquet(table: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    table.to_parquet(out, index=False)
    return out.getvalue()


def separated(by: str) -> bytes:
    return TABLE.assign(note='a, "b"; c\nd').to_csv(index=False, sep=by).encode()


READ: dict[str, Callable[[], bytes]] = {
    "semicolon": lambda: separated(";"),
    "tab": lambda: separated("\t"),
    "bar": lambda: separated("|"),
    "gzip": lambda: gzip.compress(CSV.encode()),
    "gzip in two members": lambda: gzip.compress(CSV[:1000].encode()) + gzip.compress(CSV[1000:].encode()),
    "bz2": lambda: bz2.compress(CSV.encode()),
    "zip": lambda: zipped({"train.csv": CSV}),
    "zip from a Mac": lambda: zipped({"train.csv": CSV, "__MACOSX/._train.csv": "x"}),
    "parquet": lambda: parquet(TABLE[["landmark_id", "id", "url"]].assign(more=1)),
    "parquet with a category": lambda: parquet(TABLE.astype({"landmark_id": "category"})),
    "parquet with integers": lambda: parquet(TABLE.astype({"landmark_id": int})),
    "utf-16 with a mark": lambda: CSV.encode("utf-16"),
    "utf-16 big-endian": lambda: b"\xfe\xff" + CSV.encode("utf-16-be"),
    "utf-16 without a mark": lambda: CSV.encode("utf-16-le"),
    "utf-16 with tabs, as Excel's Unicode text": lambda: CSV.replace(",", "\t").encode("utf-16"),
    "utf-8 with a mark, packed": lambda: gzip.compress(CSV.encode("utf-8-sig")),
    "blanks around the names of columns": lambda: CSV.replace(
        "id,url,landmark_id", "id , url, landmark_id", 1
    ).encode(),
    "empty lines before the names of columns": lambda: b"\r\n\n" + CSV.encode(),
    "quoted names of columns": lambda: CSV.replace("id,url,landmark_id", '"id","url","landmark_id"', 1).encode(),
}


@pytest.mark.parametrize("kind", READ)
def test_a_catalogue_is_read_whatever_its_ending_says(kind: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(READ[kind]())
    assert catalogues.read(tmp_path / "in.csv").to_pylist() == ROWS


def test_nulls_of_parquet_are_empty_and_floats_integers_after_cleaning(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["a", "b", "c"], "url": ["u", None, "u"], "landmark_id": [9633.0, 1.0, None]})
    table.to_parquet(tmp_path / "in.parquet")
    (batch,) = catalogues.batches(tmp_path / "in.parquet")
    assert batch.to_pylist()[1:] == [
        {"id": "b", "url": "", "landmark_id": "1"},
        {"id": "c", "url": "u", "landmark_id": ""},
    ]
    kept, _ = catalogues.clean(batch)
    assert kept.to_pylist() == [{"id": "a", "url": "u", "landmark_id": "9633"}]


def sqlite(path: Path) -> bytes:
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (id)")
    return path.read_bytes()


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("train.csv"))
    return out.getvalue()


def arrow() -> bytes:
    out = pa.BufferOutputStream()
    pyarrow.feather.write_feather(TABLE, out)
    return out.getvalue().to_pybytes()


def arrow_parquet(names: list[str]) -> bytes:
    """A Parquet file whose columns have these names, be they the same."""
    out = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.table([["x"]] * len(names), names=names), out)
    return out.getvalue().to_pybytes()


OTHER: dict[str, Callable[[Path], bytes]] = {
    "ZIP archive of 2 files (a.csv, b.csv)": lambda _: zipped({"a.csv": CSV, "b.csv": CSV}),
    "ZIP archive of 0 files": lambda _: zipped({}),
    "workbook": lambda _: zipped({"[Content_Types].xml": "", "xl/workbook.xml": ""}),
    "Excel workbook": lambda _: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    "SQLite database": lambda folder: sqlite(folder / "db"),
    "HTML": lambda _: b"\n <!DOCTYPE html><html><body>Sign in</body></html>",
    "JSON": lambda _: b'[{"id": "a"}]',
    "TAR archive": lambda _: gzip.compress(tar()),
    "Arrow file": lambda _: arrow(),
    "Git LFS": lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "dvc pull": lambda _: b"outs:\n- md5: 0\n  path: in.csv\n",
    "neither UTF-8 nor UTF-16": lambda _: CSV.encode("latin-1"),
    "neither text nor": lambda _: bytes(range(1, 256)) + bytes(200),
    "cannot be read as a table": lambda _: gzip.compress(CSV.encode())[:-2000],
    "as a table": lambda _: parquet(TABLE)[:-100],
    "fetch or write it again": lambda _: zipped({"train.csv": CSV})[:-100],
    "no column 'url'": lambda _: parquet(TABLE[["id", "landmark_id"]]),
    "set catalogue.clean to it": lambda _: b"landmark_id,images\n1,17660ef415d37059 92b6290d571448f6\n",
    "no rows": lambda _: parquet(TABLE[:0]),
    "2 columns are called 'id'; rename all but one in row 1": lambda _: b"id,id,url,landmark_id\na,b,u,1\n",
    "3 columns are called 'url'": lambda _: arrow_parquet(["id", "url", "url", "landmark_id", "url"]),
    "is it the column 'URL'?": lambda _: b"id,URL,landmark_id\na,u,1\n",
    "row 20002: the url has a zero byte in it": lambda _: (
        CSV.encode() + CSV.split("\n", 1)[1].encode() * 3 + b"x,u\0,1\n"
    ),
    "row 2: the id has a zero byte in it": lambda _: parquet(
        pd.DataFrame({"id": ["a\0"], "url": "u", "landmark_id": "1"})
    ),
    "a row behind row 5001 has over 1048576 bytes; is a quote open?": lambda _: (CSV + 'x,"' + CSV * 30).encode(),
    "a line for Excel; remove that line": lambda _: b"sep=;\nid;url;landmark_id\n",
}


@pytest.mark.parametrize("problem", OTHER)
def test_what_is_no_catalogue_is_called_by_its_name_in_one_line(problem: str, script: Script, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(OTHER[problem](tmp_path))
    out = [tmp_path / "catalogue.csv", tmp_path / "counts.json"]
    done = script("catalogue", *out, "--source", tmp_path / "in.csv")
    fails_in_one_line(done, f"catalogue: {tmp_path / 'in.csv'}: ", problem)
    assert not any(path.exists() for path in out)


@pytest.mark.parametrize(
    "body", [b"<html>Sign in</html>", b"id,url,landmark_id\na,u,1\na,u,2\n", gzip.compress(b"x" * 99, mtime=0)[:-9]]
)
def test_an_error_names_the_url_and_not_the_file_it_was_fetched_to(
    script: Script, host: Host, tmp_path: Path, body: bytes
) -> None:
    host.body = body
    url = f"{host.url}/body/train.csv.gz"
    done = script("catalogue", tmp_path / "c.csv", tmp_path / "c.json", "--source", url)
    fails_in_one_line(done, f"catalogue: {url}: ")
    assert tempfile.gettempdir() not in done.stderr


def test_a_packed_catalogue_may_be_given_by_url_and_by_the_url_of_a_file(
    script: Script, host: Host, tmp_path: Path
) -> None:
    host.body = gzip.compress(CSV.encode())
    (tmp_path / "año 1.csv").write_text(CSV, encoding="utf-8")
    for source in (f"{host.url}/body/train.csv.gz", (tmp_path / "año 1.csv").as_uri()):
        done = script("catalogue", tmp_path / "c.csv", tmp_path / "c.json", "--source", source)
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "c.json").read_text()) == {"rows": 5000}
        (tmp_path / "c.json").unlink()


def test_the_row_of_an_error_in_a_packed_file_is_counted_as_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "in.gz").write_bytes(gzip.compress((CSV + "x,y\n").encode()))
    with pytest.raises(InputError, match=r"in.gz: Row #5002: Expected 3 columns, got 2.*mend that row"):
        catalogues.read(tmp_path / "in.gz")


def test_a_large_packed_catalogue_is_read_in_batches(tmp_path: Path) -> None:
    (tmp_path / "in.gz").write_bytes(gzip.compress(("id,url,landmark_id\n" + "a" * 50 + ",u,1\n").encode()))
    with gzip.open(tmp_path / "in.gz", "at", encoding="utf-8") as file:
        file.writelines(f"b{n},http://x/{n}.jpg,1\n" for n in range(300_000))
    before = pa.total_allocated_bytes()
    most = rows = 0
    for batch in table_files.batches(table_files.TableFile(tmp_path / "in.gz", "in"), catalogues.COLUMNS):
        rows += batch.num_rows
        most = max(most, pa.total_allocated_bytes() - before)
    assert rows == 300_001
    assert most < 60e6
