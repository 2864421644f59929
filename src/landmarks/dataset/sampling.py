"""Which landmarks and photos of a catalogue are in the experiment."""

import hashlib
import heapq
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from landmarks.common.errors import InputError
from landmarks.dataset import catalogues, schema


def commonest(landmarks: pa.ChunkedArray, classes: int, per_class: int) -> list[str]:
    """The ``classes`` landmarks with the most rows, in their own order; ties are broken by id, the lower first.

    Raises ``InputError`` if there are fewer landmarks or photos than asked for.
    """
    found = pc.value_counts(landmarks)
    names, counts = found.field("values"), found.field("counts").to_numpy()
    if len(counts) < classes:
        raise InputError(f"there are {len(counts)} landmarks, sample.classes asks for {classes}; lower it")
    candidates = np.flatnonzero(counts >= np.partition(counts, -classes)[-classes])  # more where the last ones tie
    rows = zip(names.take(candidates).to_pylist(), counts[candidates].tolist(), strict=True)
    order = sorted(rows, key=lambda row: (-row[1], schema.natural(row[0])))[:classes]
    for name, count in order:
        if count < per_class:
            few = f"landmark {name} has {count} photos"
            raise InputError(f"{few}, sample.per_class asks for {per_class}; lower it, or sample.classes")
    return sorted((name for name, _ in order), key=schema.natural)


def others(landmarks: pa.ChunkedArray, known: Iterable[str], count: int, seed: int) -> list[str]:
    """``count`` landmarks that are not ``known``, or as many as there are, in the order of a hash of seed and name."""
    names = set(pc.unique(landmarks).to_pylist()).difference(known)
    return heapq.nsmallest(count, names, key=lambda name: _rank(f"{seed} ".encode(), name.encode()))


def unknown(table: pa.Table, landmarks: Iterable[str], count: int, reserve: int, seed: int) -> pa.Table:
    """``count`` photos of the ``landmarks``, one of each while there are enough of them, and up to ``reserve`` more.

    As ``sample`` gives them, but all of the landmark ``unknown``. Raises ``InputError`` if there are fewer photos.
    """
    turns = _by_landmark(table, landmarks, count + reserve, seed)
    rows = [turn[place] for place in range(count + reserve) for turn in turns if place < len(turn)]
    if len(rows) < count:
        raise InputError(f"there are {len(rows)} photos of other landmarks, sample.unknown asks for {count}; lower it")
    drawn = _taken(table, rows[: count + reserve])
    spare = pa.array([int(place >= count) for place in range(len(drawn))])
    names = pa.array([schema.UNKNOWN] * len(drawn))
    drawn = drawn.set_column(drawn.schema.get_field_index("landmark_id"), "landmark_id", names)
    return drawn.append_column("reserve", spare)


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
    parts = _by_landmark(table, landmarks, per_class + reserve, seed)
    spare = [int(rank >= per_class) for part in parts for rank in range(len(part))]
    drawn = _taken(table, [row for part in parts for row in part])
    return drawn.append_column("reserve", pa.array(spare, pa.int64()))


def _by_landmark(table: pa.Table, landmarks: Iterable[str], count: int, seed: int) -> list[list[int]]:
    """The first ``count`` rows of each landmark in the order of their hashes: one pass over the rows, however many landmarks."""
    codes = table["landmark_id"].combine_chunks().dictionary_encode()
    place = {name: code for code, name in enumerate(codes.dictionary.to_pylist())}
    order = np.argsort(codes.indices.to_numpy(), kind="stable")
    ends = np.cumsum(np.bincount(codes.indices.to_numpy(), minlength=len(place)))
    ids, prefix = table["id"].cast(pa.binary()).combine_chunks(), f"{seed} ".encode()
    drawn = []
    for name in landmarks:
        code = place.get(name)
        rows = order[ends[code - 1] if code else 0 : ends[code]] if code is not None else order[:0]
        ranks = [_rank(prefix, photo) for photo in ids.take(pa.array(rows)).to_pylist()]
        drawn.append(rows[sorted(range(len(rows)), key=ranks.__getitem__)[:count]].tolist())
    return drawn


def _taken(table: pa.Table, rows: list[int]) -> pa.Table:
    """These rows, in this order; filtered first, since ``take`` would copy all of a table of many chunks."""
    kept = np.zeros(len(table), bool)
    kept[rows] = True
    few = table.select(catalogues.COLUMNS).filter(pa.array(kept))
    return few.take(pa.array(np.searchsorted(np.flatnonzero(kept), rows)))
