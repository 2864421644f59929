"""Tables of (id, url, landmark_id) in the millions of rows: read, checked, cleaned, in Arrow's memory."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from landmarks.common.errors import InputError
from landmarks.common.files import whole
from landmarks.dataset import clean_subset, schema, table_files
from landmarks.dataset.table_files import TableFile

Batches = Iterable[pa.RecordBatch]
COLUMNS = ("id", "url", "landmark_id")
SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS])
NULLS = (  # the strings that pandas reads as null, and what databases write; the Kaggle file of 2018 writes None
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "n/a", "nan", "null", r"\N", r"\n", *map("".join, itertools.product("nN", "oO", "nN", "eE")),
)  # fmt: skip


def batches(file: Path | TableFile, rows_needed: bool = True) -> Generator[pa.RecordBatch]:
    """Read the three columns of a table as text, some thousand rows at a time. Raises ``InputError`` as ``table_files.batches``."""
    table = file if isinstance(file, TableFile) else TableFile(path=file, name=str(file))
    if set(clean_subset.COLUMNS) <= set(table_files.header(table)) and "url" not in table_files.header(table):
        raise InputError(
            f"{table.name}: Google Landmarks v2's train_clean.csv ({', '.join(clean_subset.COLUMNS)}), which has no URLs; "
            "set catalogue.clean to it and catalogue.source to train.csv"
        )
    yield from table_files.batches(table, COLUMNS, rows_needed=rows_needed)


def read(path: Path) -> pa.Table:
    """All of them in one table."""
    return pa.Table.from_batches(batches(path), SCHEMA)


def checked(path: Path | str, found: Batches, again: Callable[[], Batches]) -> Iterator[pa.RecordBatch]:
    """Hand the batches on; raise ``InputError`` at the first id that is no file name or, at the end, stands in two rows.

    Rows are counted with the header. Nulls are no ids: the clean stage drops them. Of each id 8 bytes are kept; should two
    of them be the same, ``again`` gives the batches once more.
    """
    row, hashes = 2, [np.zeros(0, np.uint64)]
    for batch in found:
        ids = batch["id"]
        odd = pc.indices_nonzero(pc.invert(pc.match_substring_regex(ids, f"^{schema.SAFE_ID}$")))
        for index in odd.to_pylist():
            if ids[index].as_py().strip() not in NULLS:
                raise InputError(
                    f"{path}: row {row + index}: the id {ids[index].as_py()!r} cannot name a file; "
                    "use letters, digits, '_', '-' and '.', 128 at most"
                )
        hashes.append(_hashes(ids))
        row += len(ids)
        yield batch
    together = np.sort(np.concatenate(hashes))
    if (together[1:] == together[:-1]).any():
        _require_once(path, pa.chunked_array([batch["id"] for batch in again()]))


def _require_once(path: Path | str, ids: pa.ChunkedArray) -> None:
    counts = pc.value_counts(ids.filter(pc.invert(pc.is_in(pc.utf8_trim_whitespace(ids), pa.array(NULLS)))))
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(twice):
        rows = pc.indices_nonzero(pc.equal(ids, twice[0])).to_pylist()
        raise InputError(
            f"{path}: row {rows[1] + 2}: the id {twice[0].as_py()!r} stands in row {rows[0] + 2} already "
            f"({len(twice)} ids more than once); remove or rename the second"
        )


def _hashes(ids: pa.StringArray) -> NDArray[np.uint64]:
    """A number for each id that is no null; two equal ones have the same."""
    lengths = pc.binary_length(ids)
    if pc.min(lengths).as_py() == pc.max(lengths).as_py() == 16:  # 16 hexadecimal digits, in every Google catalogue
        start = ids.buffers()[1][4 * ids.offset : 4 * ids.offset + 4]
        first = int.from_bytes(start.to_pybytes(), "little")
        halves = np.frombuffer(ids.buffers()[2], np.uint64, 2 * len(ids), first).reshape(-1, 2)
        mixed: NDArray[np.uint64] = halves[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ halves[:, 1]
        return mixed * np.uint64(0xC2B2AE3D27D4EB4F)
    named = ids.filter(pc.invert(pc.is_in(pc.utf8_trim_whitespace(ids), pa.array(NULLS))))
    digests = (hashlib.blake2b(id_, digest_size=8).digest() for id_ in named.cast(pa.binary()).to_pylist())
    return np.frombuffer(b"".join(digests), np.uint64)


def write(path: Path, found: Batches) -> int:
    """Write a CSV file, whole or not at all. Returns its number of rows."""
    rows = 0
    with whole(path) as partial, pa.OSFile(str(partial), "wb") as file:
        for batch in found:
            if not rows:
                file.write(",".join(batch.schema.names).encode() + b"\n")
            try:  # Arrow quotes every text or none, and refuses none where one needs it
                file.write(_csv(batch, "none"))
            except pa.ArrowInvalid:
                file.write(_csv(batch, "needed"))
            rows += batch.num_rows
    return rows


def _csv(batch: pa.RecordBatch, quoting: str) -> pa.Buffer:
    out = pa.BufferOutputStream()
    pa.csv.write_csv(batch, out, pa.csv.WriteOptions(include_header=False, quoting_style=quoting))
    return out.getvalue()


def clean(table: pa.RecordBatch) -> tuple[pa.RecordBatch, Counter[str]]:
    """Drop the rows with a null in any column: one of ``NULLS``. Returns the rest and the counts.

    A landmark that is an integer written as a float becomes the integer: pandas writes 9633.0 if a column has a null.
    """
    trimmed = [pc.utf8_trim_whitespace(table[name]) for name in COLUMNS]
    trimmed[2] = clean_subset.landmark_ids(trimmed[2])
    nulls = {name: pc.is_in(column, pa.array(NULLS)) for name, column in zip(COLUMNS, trimmed, strict=True)}
    any_null = pc.or_(pc.or_(nulls["id"], nulls["url"]), nulls["landmark_id"])
    kept = pa.record_batch(trimmed, COLUMNS).filter(pc.invert(any_null))
    counts = Counter(rows=table.num_rows, nulls=table.num_rows - kept.num_rows)
    counts.update({f"null_{name}": pc.sum(column).as_py() or 0 for name, column in nulls.items()})
    counts["kept"] = kept.num_rows
    return kept, counts
