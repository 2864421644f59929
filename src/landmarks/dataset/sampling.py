"""Which landmarks and photos of a catalogue are in the experiment."""

import hashlib
import heapq
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from landmarks.common.errors import InputError
from landmarks.dataset import catalogues, schema


def commonest(landmarks: pa.ChunkedArray, classes: int, per_class: int) -> list[str]:
    """The ``classes`` landmarks with the most rows, in their own order; ties are broken by id, the lower first.

    Raises ``InputError`` if there are fewer landmarks or photos than asked for.
    """
    counts = pc.value_counts(landmarks)
    if len(counts) < classes:
        raise InputError(f"there are {len(counts)} landmarks, sample.classes asks for {classes}; lower it")
    order = sorted(counts.to_pylist(), key=lambda row: (-row["counts"], schema.natural(row["values"])))[:classes]
    for row in order:
        if row["counts"] < per_class:
            few = f"landmark {row['values']} has {row['counts']} photos"
            raise InputError(f"{few}, sample.per_class asks for {per_class}; lower it, or sample.classes")
    return sorted((row["values"] for row in order), key=schema.natural)


def others(landmarks: pa.ChunkedArray, known: Iterable[str], count: int, seed: int) -> list[str]:
    """``count`` landmarks that are not ``known``, or as many as there are, in the order of a hash of seed and name."""
    names = set(pc.unique(landmarks).to_pylist()).difference(known)
    return heapq.nsmallest(count, names, key=lambda name: _rank(f"{seed} ".encode(), name.encode()))


def unknown(table: pa.Table, landmarks: Iterable[str], count: int, reserve: int, seed: int) -> pa.Table:
    """``count`` photos of the ``landmarks``, one of each while there are enough of them, and up to ``reserve`` more.

    As ``sample`` gives them, but all of the landmark ``unknown``. Raises ``InputError`` if there are fewer photos.
    """
    turns = [sample(table, [landmark], count + reserve, 0, seed) for landmark in landmarks]
    rows = [turn.slice(place, 1) for place in range(count + reserve) for turn in turns if place < len(turn)]
    if len(rows) < count:
        raise InputError(f"there are {len(rows)} photos of other landmarks, sample.unknown asks for {count}; lower it")
    drawn = pa.concat_tables(rows[: count + reserve])
    spare = pa.array([int(place >= count) for place in range(len(drawn))])
    names = pa.array([schema.UNKNOWN] * len(drawn))
    place = {name: drawn.schema.get_field_index(name) for name in ("landmark_id", "reserve")}
    drawn = drawn.set_column(place["landmark_id"], "landmark_id", names)
    return drawn.set_column(place["reserve"], "reserve", spare)


def external(table: pa.Table, landmarks: Iterable[str], photos: int, others_wanted: int, seed: int) -> pa.Table:
    """Of another source's table: up to ``photos`` of each of the ``landmarks``, and up to ``others_wanted`` of any others.

    As ``sample`` and ``unknown`` give them, without a reserve, and with ids that begin with ``schema.EXTERNAL_ID``.
    """
    known = sample(table, landmarks, photos, 0, seed)
    names = others(table["landmark_id"], landmarks, others_wanted, seed)
    there = pc.sum(pc.is_in(table["landmark_id"], pa.array(names, pa.string()))).as_py() or 0
    if count := min(others_wanted, there):
        known = pa.concat_tables([known, unknown(table, names, count, 0, seed)])
    ids = pc.binary_join_element_wise(schema.EXTERNAL_ID, known["id"], "")
    return known.set_column(known.schema.get_field_index("id"), "id", ids)


def _rank(prefix: bytes, name: bytes) -> bytes:
    return hashlib.blake2b(prefix + name, digest_size=16).digest()


def sample(table: pa.Table, landmarks: Iterable[str], per_class: int, reserve: int, seed: int) -> pa.Table:
    """``per_class`` rows of each landmark, then up to ``reserve`` more to replace the expired.

    Rows are ordered by a hash of seed and id: neither the order of the catalogue nor rows added to it move the others.
    Adds the column ``reserve``, 0 or 1.
    """
    parts, prefix = [], f"{seed} ".encode()
    for landmark in landmarks:
        rows = table.filter(pc.equal(table["landmark_id"], landmark))
        ids = enumerate(rows["id"].cast(pa.binary()).to_pylist())
        keys = ((_rank(prefix, id_), index) for index, id_ in ids)
        first = heapq.nsmallest(per_class + reserve, keys)
        ranked = rows.take(pa.array([index for _, index in first], pa.int64()))
        spare = pa.array([int(rank >= per_class) for rank in range(len(ranked))], pa.int64())
        parts.append(ranked.select(catalogues.COLUMNS).append_column("reserve", spare))
    return pa.concat_tables(parts)
