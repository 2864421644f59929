"""Catalogues in every dialect are read as Python's csv module reads them; of what is damaged, one line says what it is."""

import bz2
import contextlib
import gzip
import io
import re
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet
from hypothesis import given, settings
from hypothesis import strategies as st
from support import fuzzed

from landmarks.common.errors import InputError
from landmarks.dataset import catalogues

Row = dict[str, str]
PLAIN = st.text("ab1 -_.:/?&=%ñ", max_size=12)
CELLS = (
    PLAIN
    | st.text("a,;\t|\"'\r\n ñ€\u2028\x85\x0b\x1c🗼\ufeff", max_size=8)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
)
MORE = ["caption", "", " author ", "ID", "n°", "url.1", "landmark_id ; x"]  # further columns


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("train.csv"), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


PACKED: list[Callable[[bytes], bytes]] = [bytes, partial(gzip.compress, mtime=0), bz2.compress, zipped]
ENCODED: list[Callable[[str], bytes]] = [
    str.encode,
    lambda text: text.encode("utf-8-sig"),
    lambda text: text.encode("utf-16"),
    lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
]


class Written(NamedTuple):
    """A catalogue as a file, and its rows."""

    content: bytes
    rows: list[Row]


def quoted(cell: str, separator: str, always: bool) -> str:
    """A cell as it stands in a CSV file; Python 3.11's csv writes some line breaks bare."""
    return '"' + cell.replace('"', '""') + '"' if always or set(cell) & {separator, '"', "\r", "\n"} else cell


@st.composite
def tables(draw: st.DrawFn) -> Written:
    """A table of some rows in any dialect."""
    names = draw(
        st.permutations([*catalogues.COLUMNS, *draw(st.lists(st.sampled_from(MORE), max_size=2, unique=True))])
    )
    rows = draw(st.lists(st.tuples(*[CELLS] * len(names)), min_size=1, max_size=4))
    separator, end = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    always, blanks = draw(st.booleans()), st.sampled_from(["", "", end, end * 2])  # empty lines behind a row
    padded = [name + draw(st.sampled_from(["", "", " "])) for name in names]
    lines = [separator.join(quoted(cell, separator, always) for cell in row) for row in (padded, *rows)]
    text = "".join(line + end + draw(blanks) for line in lines)
    if draw(st.booleans()):
        text = text.rstrip("\r\n")  # of a cell that ends so, a quote comes after it
    content = draw(st.sampled_from(PACKED))(draw(st.sampled_from(ENCODED))(text))
    kept = [dict(zip(names, row, strict=True)) for row in rows]
    return Written(content, [{name: row[name] for name in catalogues.COLUMNS} for row in kept])


def read(content: bytes) -> list[Row]:
    """The rows by way of the catalogue stage: read, checked, written, and read again."""
    with tempfile.TemporaryDirectory() as folder:
        path, again = Path(folder, "in.csv"), Path(folder, "out.csv")
        path.write_bytes(content)
        rows = catalogues.read(path)
        catalogues.write(again, rows.to_batches())
        assert catalogues.read(again) == rows
        for batch in rows.to_batches():
            catalogues.clean(batch)
        with contextlib.suppress(InputError):  # an id that is no name of a file, or stands twice
            list(catalogues.checked("in.csv", rows.to_batches(), rows.to_batches))
        found: list[Row] = rows.to_pylist()
        return found


@given(tables())
@settings(max_examples=fuzzed())
def test_every_dialect_gives_the_rows_that_were_written(table: Written) -> None:
    assert read(table.content) == table.rows


def parquet(rows: list[Row]) -> bytes:
    out = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue().to_pybytes()


PIECES = st.binary(max_size=6) | st.sampled_from(
    [b"\0", b'"', b'""', b"\n", b"\r", b",", b";", b",,,", b"\xe9", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b" ", b"id,", b"# note\n",
     b"a" * 2_000_000, b'"' + b"b" * 70_000, b"\n" * 70_000, b"PAR1", b"\x1f\x8b", b"PK\x03\x04", b"BZh9", b"\x28\xb5\x2f\xfd"]
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A table with bytes put in, overwritten or cut off, before or after it was packed; or bytes alone."""
    table = draw(tables())
    content = draw(st.sampled_from([table.content, parquet(table.rows), b""]))
    packing: list[Callable[[bytes], bytes]] = draw(st.sampled_from([[bytes], [bytes, *PACKED[1:]]]))
    for pack in packing:
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, 1 << 16)) % (len(content) + 1)
            content = content[:at] + draw(PIECES) + content[draw(st.sampled_from([at, at + 1, len(content)])) :]
        content = pack(content) if pack is bytes or draw(st.booleans()) else content
    return content


@given(damaged())
@settings(max_examples=fuzzed())
def test_a_damaged_table_is_read_or_one_line_names_it(content: bytes) -> None:
    assert re.fullmatch(r"|.*in\.csv: .+", problem(content))


def problem(content: bytes) -> str:
    """The error of reading; empty if there is none."""
    try:
        read(content)
    except InputError as error:
        return str(error)
    return ""
