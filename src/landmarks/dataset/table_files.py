"""Tables as people have them: CSV in any usual dialect or encoding, packed or not, and Parquet; read as a stream of text."""

import contextlib
import csv
import io
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from landmarks.common import progress
from landmarks.common.errors import InputError
from landmarks.common.file_urls import local_path
from landmarks.dataset import schema

if TYPE_CHECKING:
    import requests

HEAD = 1 << 16  # bytes in which a format and a header are recognised
SEPARATORS = (",", ";", "\t", "|")
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
ZIPS = (b"PK\x03\x04", b"PK\x05\x06")  # the second: an empty archive
MARKED = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # byte order marks
OTHERS = {  # what people give for a table, by its first bytes
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV UTF-8",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
    b"ARROW1": "an Arrow file; write it as Parquet or CSV",
    b"\xfd7zXZ": "packed with xz; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"%PDF": "a PDF; give the table as CSV",
    b"\xff\xd8\xff": "a photo; give the table as CSV",
    b"\x89PNG": "a photo; give the table as CSV",
    b"version https://git-lfs": "the pointer of Git LFS, not the file; run: git lfs pull",
    b"outs:\n- md5:": "the pointer of DVC, not the file; run: dvc pull",
    b"<": "an HTML or XML page; give the address of the file itself",
    b"sep=": "a CSV that begins with a line for Excel; remove that line",
    b"{": "JSON; write it as CSV or Parquet",
    b"[": "JSON; write it as CSV or Parquet",
}
DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    UnicodeError,
)  # of a packed file


@dataclass(frozen=True)
class TableFile:
    """A table in a file: where it lies, what errors call it, and the parameter that names it."""

    path: Path
    name: str
    setting: str = "catalogue.source"


@dataclass(frozen=True)
class _Dialect:
    encoding: str
    separator: str
    header: list[str]  # as it stands there

    def columns(self, wanted: Sequence[str]) -> dict[str, str]:
        """The columns ``wanted`` that there are, by what they are called in the file."""
        named = {cell.strip(): cell for cell in reversed(self.header)}
        return {named[name]: name for name in wanted if name in named}


@contextlib.contextmanager
def local(source: str, setting: str = "catalogue.source") -> Iterator[TableFile]:
    """The file at a path or ``file:`` URL; one at an http(s) URL is fetched first, with a progress bar, and removed afterwards.

    Raises ``InputError`` if the URL does not answer with a file; ``setting`` is the parameter that names the source.
    """
    if not _is_remote(source):
        yield TableFile(path=local_path(source), name=source, setting=setting)
    else:
        with tempfile.NamedTemporaryFile() as file:
            _fetch(source, file, setting)
            yield TableFile(path=Path(file.name), name=source, setting=setting)


def require(source: str, setting: str) -> None:
    """Raise ``InputError`` if there is no file at a path or ``file:`` URL, or an http(s) URL does not answer; it is not read."""
    if _is_remote(source):
        with _answer(source, setting):
            pass
    elif not local_path(source).exists():
        raise InputError(f"{setting} {source}: no such file")


def _is_remote(source: str) -> bool:
    return source.partition("://")[0].lower() in ("http", "https")


@contextlib.contextmanager
def _answer(source: str, setting: str) -> "Iterator[requests.Response]":
    import requests

    try:
        with requests.get(source, stream=True, timeout=(10, 60)) as answer:
            answer.raise_for_status()
            yield answer
    except requests.RequestException as error:
        raise InputError(f"{source}: cannot be fetched ({error}); set {setting} to a file") from None


def _fetch(source: str, file: IO[bytes], setting: str) -> None:
    with _answer(source, setting) as answer:
        size = int(answer.headers.get("Content-Length", 0)) or None
        with progress.bar(size, "fetch", "B") as bar:
            for chunk in answer.iter_content(1 << 20):
                file.write(chunk)
                bar.update(len(chunk))
    file.flush()


def header(table: TableFile) -> list[str]:
    """The names of all columns. Raises ``InputError`` as ``batches`` does."""
    with _errors(table):
        if _is_parquet(table):
            with pa.parquet.ParquetFile(table.path) as file:
                return list(file.schema_arrow.names)
        with _opened(table) as (file, _):
            return [cell.strip() for cell in _dialect(table, _head(file), ()).header]


def batches(
    table: TableFile, columns: Sequence[str], block: int = 1 << 20, rows_needed: bool = True
) -> Generator[pa.RecordBatch]:
    """Read ``columns`` as text, some thousand rows at a time; further columns are left out. A null of Parquet is empty.

    Read are CSV files separated by comma, semicolon, tab or bar, in UTF-8 or UTF-16, as they are or packed (gzip, bz2, zstd,
    or a ZIP archive with one file), and Parquet. What a file is, its content tells. ``block`` bytes must hold a row.
    Raises ``InputError`` if the file is missing, empty, ragged, lacks a column or is something else, which is named.
    """
    rows = 0
    with _errors(table):
        for batch in (_parquet if _is_parquet(table) else _csv)(table, columns, block):
            _require_text(table, batch, rows)
            rows += batch.num_rows
            yield batch
    if rows_needed and not rows:
        raise InputError(f"{table.name}: a header and no rows; give a CSV with at least one")


def _require_text(table: TableFile, batch: pa.RecordBatch, before: int) -> None:
    """Raise ``InputError`` if a cell has a zero byte, at which other programs end a text; ``before`` rows came earlier."""
    for name in batch.schema.names:
        odd = pc.indices_nonzero(pc.match_substring(batch[name], "\0"))
        if len(odd):
            row = before + odd[0].as_py() + 2
            raise InputError(f"{table.name}: row {row}: the {name} has a zero byte in it; remove it")


@contextlib.contextmanager
def _errors(table: TableFile) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{table.name}: no such file; set {table.setting} in params.yaml") from None
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(f"{table.name}: {error.strerror}; give a file that can be read") from None
    except (pa.ArrowException, csv.Error, *DAMAGED) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{table.name}: cannot be read as a table ({reason}); fetch or write it again") from None


def _is_parquet(table: TableFile) -> bool:
    with table.path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _parquet(table: TableFile, columns: Sequence[str], _: int) -> Iterator[pa.RecordBatch]:
    with pa.parquet.ParquetFile(table.path, memory_map=True) as file:
        schema.require(table.name, file.schema_arrow.names, columns)
        with progress.bar(max(file.metadata.num_rows, 1), PurePosixPath(table.name).stem, "row") as bar:
            for batch in file.iter_batches(1 << 14, columns=list(columns)):
                text = [batch[name].cast(pa.string()).fill_null("") for name in columns]
                read = pa.record_batch(text, list(columns))
                read.validate(full=True)  # that it is UTF-8
                yield read
                bar.update(batch.num_rows)


def _csv(table: TableFile, columns: Sequence[str], block: int) -> Iterator[pa.RecordBatch]:
    try:
        with progress.bar(table.path.stat().st_size or 1, PurePosixPath(table.name).stem, "B") as bar:
            for batch, place in _csv_stream(table, columns, pa.csv.ReadOptions(block_size=block)):
                bar.update(place - bar.n)
                yield batch
    except pa.ArrowInvalid as error:
        wrong, row = error, 1
        try:  # again on one thread, which alone knows the number of the row
            for batch, _ in _csv_stream(table, columns, pa.csv.ReadOptions(use_threads=False, block_size=block)):
                row += batch.num_rows
        except pa.ArrowInvalid as numbered:
            wrong = numbered
        reason = " ".join(str(wrong).removeprefix("CSV parse error: ").split())
        if "straddling" in reason:
            raise InputError(f"{table.name}: a row behind row {row} has over {block} bytes; is a quote open?") from None
        if "invalid UTF8" in reason:
            raise InputError(f"{table.name}: its text is neither UTF-8 nor UTF-16; save it as UTF-8") from None
        raise InputError(f"{table.name}: {reason}; mend that row") from None


def _csv_stream(
    table: TableFile, columns: Sequence[str], reading: pa.csv.ReadOptions
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield batches, and how many bytes of the file were read for them."""
    with _opened(table) as (file, _):
        dialect = _dialect(table, _head(file), columns)
    schema.require(table.name, [cell.strip() for cell in dialect.header], columns)
    names = dialect.columns(columns)
    text = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), include_columns=list(names), strings_can_be_null=False
    )
    cells = pa.csv.ParseOptions(newlines_in_values=True, delimiter=dialect.separator)
    reading.encoding = dialect.encoding
    with _opened(table) as (file, packed), pa.csv.open_csv(file, reading, cells, text) as reader:
        for batch in reader:
            yield pa.record_batch(batch.columns, list(columns)), packed.tell()


@contextlib.contextmanager
def _opened(table: TableFile) -> Iterator[tuple[Any, Any]]:
    """The bytes of a table, unpacked while they are read, as an Arrow stream; and the file as it lies there."""
    with pa.OSFile(str(table.path)) as raw:
        start = raw.read(4)
        raw.seek(0)
        method = next((name for magic, name in PACKED.items() if start.startswith(magic)), None)
        if method:
            with pa.CompressedInputStream(raw, method) as file:
                yield file, raw
        elif start in ZIPS:
            with zipfile.ZipFile(table.path) as archive, archive.open(_member(table, archive)) as member:
                yield pa.PythonFile(member, mode="r"), raw
        else:
            yield raw, raw


def _member(table: TableFile, archive: zipfile.ZipFile) -> str:
    """The one file in a ZIP archive; what a Mac adds does not count."""
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    names = [
        name for name in names if not name.startswith("__MACOSX/") and not PurePosixPath(name).name.startswith(".")
    ]
    if "[Content_Types].xml" in names or "content.xml" in names:
        raise InputError(f"{table.name}: a workbook of Excel or LibreOffice; save it as CSV UTF-8")
    if len(names) != 1:
        listed = ", ".join(names[:3]) or "none"
        raise InputError(
            f"{table.name}: a ZIP archive of {len(names)} files ({listed}); unpack it and give one of them"
        )
    return names[0]


def _head(file: Any) -> bytes:
    """The first bytes of a stream, which may give fewer than it is asked for."""
    found = b""
    while len(found) < HEAD and (more := file.read(HEAD - len(found))):
        found += more
    return found


def _dialect(table: TableFile, head: bytes, columns: Sequence[str]) -> _Dialect:
    """How the CSV file that begins with ``head`` is written: the separator under which most of ``columns`` are there.

    Raises ``InputError`` if it is something else.
    """
    kind = next((kind for start, kind in OTHERS.items() if head.lstrip(b" \r\n\t").startswith(start)), "")
    if head[257:262] == b"ustar":
        kind = "a TAR archive; unpack it first"
    if kind:
        raise InputError(f"{table.name}: {kind}")
    encoding = next((name for mark, name in MARKED.items() if head.startswith(mark)), "") or _unmarked(head)
    text = head.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace")
    if "\0" in text:
        raise InputError(f"{table.name}: neither text nor a format that is read here; give a CSV or Parquet file")
    dialects = [_Dialect(encoding, separator, _first_row(text, separator)) for separator in SEPARATORS]
    return max(dialects, key=lambda one: (len(one.columns(columns)), len(one.header) if not columns else 0))


def _unmarked(head: bytes) -> str:
    """UTF-16 without a mark has a zero in every other byte of what is mostly ASCII."""
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        every_other = head[start::2]
        if len(head) > 3 and every_other.count(0) > 0.9 * len(every_other) and head[1 - start :: 2].count(0) == 0:
            return encoding
    return "utf-8"


def _first_row(text: str, separator: str) -> list[str]:
    return next(filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=separator)), [])
