"""The file of the keypoints stage: descriptors of all photos, read without being held in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from landmarks.classical.local_features import COLUMNS, NUMBERS, Settings
from landmarks.common.errors import InputError
from landmarks.common.files import whole
from landmarks.common.parallel import batched

BLOCK = 64  # photos written at once


class Row(NamedTuple):
    """One photo: ``points`` float32 (k, 4): x, y, size in shares of its longer side, angle in degrees; ``values`` (k, columns)."""

    id: str
    landmark: str
    found: int
    points: NDArray[np.float32]
    values: NDArray[Any]


@dataclass(frozen=True)
class Features:
    """Descriptors of n photos.

    Attributes:
        settings: how they were made.
        ids: (n,), sorted.
        landmarks: (n,).
        found: int64 (n,): keypoints there were before the strongest were kept (of ORB, which stops by itself, somewhat
            more than are asked for).
        points: object (n,) of float32 (k, 4), views into the file.
        values: object (n,) of (k, columns), views into the file: what the classical pipelines are fitted on.
    """

    settings: Settings
    ids: NDArray[np.str_]
    landmarks: NDArray[np.str_]
    found: NDArray[np.int64]
    points: NDArray[np.object_]
    values: NDArray[np.object_]


def write(path: Path, settings: Settings, rows: Iterator[Row]) -> None:
    """Write an Arrow file (``pandas.read_feather`` opens it), a block of photos at a time; its bytes depend on its content alone."""
    schema = _schema(settings)
    with whole(path) as partial, pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, schema) as file:
        for block in batched(rows, BLOCK):
            file.write_batch(_batch(schema, block))


def _schema(settings: Settings) -> pa.Schema:
    numbers = pa.list_(pa.from_numpy_dtype(NUMBERS[settings.detector]))
    columns = {"id": pa.string(), "landmark_id": pa.string(), "found": pa.int64(), "points": pa.list_(pa.float32())}
    return pa.schema({**columns, "values": numbers}, {"settings": json.dumps(asdict(settings))})


def _batch(schema: pa.Schema, rows: list[Row]) -> pa.RecordBatch:
    ids, landmarks, found, points, values = zip(*rows, strict=True)
    lists = [_lists(arrays, field.type) for arrays, field in ((points, schema.field(3)), (values, schema.field(4)))]
    return pa.record_batch([pa.array(ids), pa.array(landmarks), pa.array(found, pa.int64()), *lists], schema=schema)


def _lists(arrays: tuple[NDArray[Any], ...], kind: pa.DataType) -> pa.ListArray:
    ends = np.concatenate([[0], np.cumsum([array.size for array in arrays])])
    flat = np.concatenate([array.ravel() for array in arrays])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(flat, kind.value_type), type=kind)


def read(path: Path) -> Features:
    """Map the file into memory: a photo's descriptors are read when they are looked at.

    Raises ``InputError`` if it is missing or is something else.
    """
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        settings = Settings(**json.loads(table.schema.metadata[b"settings"]))
        table.validate(full=True)  # else a bad offset reads beyond the file
        if table.schema != _schema(settings) or any(column.null_count for column in table.columns):
            raise ValueError("other columns than it should have")
        columns = {"points": 4, "values": COLUMNS[settings.detector]}
        views = {name: _views(table.column(name), width) for name, width in columns.items()}
        if any(len(points) != len(values) for points, values in zip(views["points"], views["values"], strict=True)):
            raise ValueError("a photo has more descriptors than keypoints, or fewer")
        return Features(
            settings,
            np.array(table.column("id").to_pylist(), np.str_),
            np.array(table.column("landmark_id").to_pylist(), np.str_),
            table.column("found").to_numpy(),
            views["points"],
            views["values"],
        )
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: dvc repro keypoints") from None
    except (pa.ArrowException, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: not a file of the keypoints stage ({error}); run: dvc repro --force keypoints"
        ) from None


@cache
def mapped(path: Path) -> Features:
    """``read``, once a process: for workers that are asked about the same file again and again."""
    return read(path)


def _views(column: pa.ChunkedArray, width: int) -> NDArray[np.object_]:
    return objects(
        flat[start:end].reshape(-1, width)
        for flat, ends in ((chunk.values.to_numpy(), chunk.offsets.to_numpy()) for chunk in column.chunks)
        for start, end in pairwise(ends)
    )


def objects(arrays: Iterable[NDArray[Any]]) -> NDArray[np.object_]:
    """An object array (n,) of them, whatever their shapes: what the classical pipelines take."""
    listed = list(arrays)
    made = np.empty(len(listed), object)
    for place, array in enumerate(listed):  # assigned at once, arrays of one shape would become one array
        made[place] = array
    return made
