"""Tables of (id, url, landmark_id) in the millions of rows: read, cleaned, sampled, in Arrow's memory."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import heapq
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from landmarks import contracts
from landmarks.errors import InputError
from landmarks.files import whole

COLUMNS = ("id", "url", "landmark_id")
NULLS = ("", "NaN", "nan", "None")  # the Kaggle file of 2018 writes the string None


def read(path: Path) -> pa.Table:
    """Read the three columns of a CSV file as text; further columns are left out.

    Raises ``InputError`` if the file is missing, empty, ragged or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            found = next(csv.reader(file), [])
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; set catalogue.source in params.yaml") from None
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file with the columns {', '.join(COLUMNS)}: {error}") from None
    contracts.require(path, found, COLUMNS)
    text = pa.csv.ConvertOptions(
        column_types={name: pa.string() for name in COLUMNS}, include_columns=list(COLUMNS), strings_can_be_null=False
    )
    cells = pa.csv.ParseOptions(newlines_in_values=True)
    try:
        table = pa.csv.read_csv(path, parse_options=cells, convert_options=text)
    except pa.ArrowInvalid:
        try:  # again on one thread, which alone knows the number of the row
            table = pa.csv.read_csv(path, pa.csv.ReadOptions(use_threads=False), cells, text)
        except pa.ArrowInvalid as error:
            said = " ".join(str(error).removeprefix("CSV parse error: ").split())
            raise InputError(f"{path}: {said}; mend that row") from None
    if not table.num_rows:
        raise InputError(f"{path}: a header and no rows; give a CSV with at least one")
    return table


def check(path: Path | str, table: pa.Table) -> None:
    """Raise ``InputError`` at the first id that is no file name or stands in two rows (rows counted with the header)."""
    ids = table["id"].combine_chunks()
    odd = pc.indices_nonzero(pc.invert(pc.match_substring_regex(ids, f"^{contracts.SAFE_ID}$"))).to_pylist()
    for row in odd:
        if ids[row].as_py().strip() not in NULLS:
            raise InputError(
                f"{path}: row {row + 2}: the id {ids[row].as_py()!r} cannot name a file; "
                "use letters, digits, '_', '-' and '.', 128 at most"
            )
    if len(ids.unique()) == len(ids):  # pc.count_distinct takes seven times as long
        return
    counts = pc.value_counts(ids.filter(pc.invert(pc.is_in(pc.utf8_trim_whitespace(ids), pa.array(NULLS)))))
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(twice):
        rows = pc.indices_nonzero(pc.equal(ids, twice[0])).to_pylist()
        raise InputError(
            f"{path}: row {rows[1] + 2}: the id {twice[0].as_py()!r} stands in row {rows[0] + 2} already "
            f"({len(twice)} ids more than once); remove or rename the second"
        )


def write(path: Path, table: pa.Table) -> None:
    """Write a CSV file, whole or not at all."""
    with whole(path) as partial:
        pa.csv.write_csv(table, partial, pa.csv.WriteOptions(quoting_style="needed"))


def clean(table: pa.Table) -> tuple[pa.Table, dict[str, Any]]:
    """Drop the rows with a null in any column: empty, NaN or the string None. Returns the rest and the counts."""
    trimmed = [pc.utf8_trim_whitespace(table[name]) for name in COLUMNS]
    nulls = {name: pc.is_in(column, pa.array(NULLS)) for name, column in zip(COLUMNS, trimmed, strict=True)}
    any_null = pc.or_(pc.or_(nulls["id"], nulls["url"]), nulls["landmark_id"])
    kept = pa.table(dict(zip(COLUMNS, trimmed, strict=True))).filter(pc.invert(any_null))
    counts = {
        "rows": table.num_rows,
        "nulls": table.num_rows - kept.num_rows,
        **{f"null_{name}": pc.sum(column).as_py() for name, column in nulls.items()},
        "kept": kept.num_rows,
        "landmarks": len(kept["landmark_id"].unique()),
    }
    return kept, counts


def sample(table: pa.Table, classes: int, per_class: int, reserve: int, seed: int) -> pa.Table:
    """The ``classes`` commonest landmarks, ``per_class`` rows of each, then up to ``reserve`` more to replace the expired.

    Ties between landmarks are broken by id, the lower first. Rows are ordered by a hash of seed and id: neither the
    order of the catalogue nor rows added to it move the others. Adds the column ``reserve``, 0 or 1.
    Raises ``InputError`` if there are fewer landmarks or photos than asked for.
    """
    counts = pc.value_counts(table["landmark_id"])
    if len(counts) < classes:
        raise InputError(
            f"the catalogue has {len(counts)} landmarks, sample.classes asks for {classes}; lower it in params.yaml"
        )
    order = sorted(counts.to_pylist(), key=lambda row: (-row["counts"], contracts.natural(row["values"])))[:classes]
    for row in order:
        if row["counts"] < per_class:
            raise InputError(
                f"landmark {row['values']} has {row['counts']} photos, sample.per_class asks for {per_class}; "
                "lower it, or sample.classes, in params.yaml"
            )
    parts, prefix = [], f"{seed} ".encode()
    for landmark in sorted((row["values"] for row in order), key=contracts.natural):
        rows = table.filter(pc.equal(table["landmark_id"], landmark))
        ids = enumerate(rows["id"].cast(pa.binary()).to_pylist())
        keys = ((hashlib.blake2b(prefix + id_, digest_size=16).digest(), index) for index, id_ in ids)
        ranked = rows.take([i for _, i in heapq.nsmallest(per_class + reserve, keys)])
        spare = pa.array([int(rank >= per_class) for rank in range(len(ranked))])
        parts.append(ranked.select(COLUMNS).append_column("reserve", spare))
    return pa.concat_tables(parts)


@contextlib.contextmanager
def local(source: str) -> Iterator[Path]:
    """The path of a CSV file; one given by URL is fetched first, with a progress bar, and removed afterwards.

    Raises ``InputError`` if the URL does not answer with a file.
    """
    if not source.startswith(("http://", "https://")):
        yield Path(source)
        return
    import requests
    from tqdm import tqdm

    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        try:
            with requests.get(source, stream=True, timeout=(10, 60)) as answer:
                answer.raise_for_status()
                size = int(answer.headers.get("Content-Length", 0)) or None
                with tqdm(desc="catalogue", total=size, unit="B", unit_scale=True) as bar:
                    for chunk in answer.iter_content(1 << 20):
                        file.write(chunk)
                        bar.update(len(chunk))
        except requests.RequestException as error:
            raise InputError(
                f"{source}: cannot be fetched ({error}); set catalogue.source to a file you have"
            ) from None
        file.flush()
        yield Path(file.name)
