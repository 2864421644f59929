"""The file of the keypoints stage: descriptors of all photos, read without being held in memory."""

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from landmarks.classical.local_features import COLUMNS, NUMBERS, FeatureSettings
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
    """Descriptors of n photos; ``points`` and ``values`` are views into the file, whose arrays are those of a ``Row``."""

    settings: FeatureSettings
    ids: NDArray[np.str_]  # (n,), sorted
    landmarks: NDArray[np.str_]  # (n,)
    found: NDArray[np.int64]  # (n,), before the strongest were kept; ORB stops by itself, somewhat above what is asked
    points: NDArray[np.object_]  # (n,)
    values: NDArray[np.object_]  # (n,): what the classical pipelines are fitted on


def packed(row: Row) -> bytes:
    """Return ``row`` without its id and landmark as bytes, compressed."""
    counts = np.array([row.found, len(row.points)], np.int64)
    return zlib.compress(counts.tobytes() + row.points.tobytes() + row.values.tobytes(), 1)


def unpacked(content: bytes, photo: str, landmark: str, settings: FeatureSettings) -> Row:
    """Return the row that ``packed`` made ``content`` of, under ``settings``, for this photo and landmark."""
    data = zlib.decompress(content)
    found, kept = np.frombuffer(data, np.int64, 2).tolist()
    points = np.frombuffer(data, np.float32, 4 * kept, offset=16).reshape(-1, 4)
    values = np.frombuffer(data, NUMBERS[settings.detector], offset=16 + points.nbytes)
    return Row(photo, landmark, found, points, values.reshape(-1, COLUMNS[settings.detector]))


def write(path: Path, settings: FeatureSettings, rows: Iterator[Row]) -> None:
    """Write an Arrow file (``pandas.read_feather`` opens it), a block of photos at a time; its bytes depend on its content alone."""
    schema = _schema(settings)
    with whole(path) as partial, pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, schema) as file:
        for block in batched(rows, BLOCK):
            file.write_batch(_batch(schema, block))


def _schema(settings: FeatureSettings) -> pa.Schema:
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
        settings = FeatureSettings(**json.loads(table.schema.metadata[b"settings"]))
        table.validate(full=True)  # else a bad offset reads beyond the file
        if table.schema != _schema(settings) or any(column.null_count for column in table.columns):
            raise ValueError("other columns than it should have")
        ids, landmarks = (np.array(table.column(name).to_pylist(), np.str_) for name in ("id", "landmark_id"))
        points, values = _views(table.column("points"), 4), _views(table.column("values"), COLUMNS[settings.detector])
        if any(len(where) != len(what) for where, what in zip(points, values, strict=True)):
            raise ValueError("a photo has more descriptors than keypoints, or fewer")
        return Features(settings, ids, landmarks, table.column("found").to_numpy(), points, values)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: dvc repro keypoints") from None
    except (pa.ArrowException, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: no file of the keypoints stage ({error}); run: dvc repro -f keypoints") from None


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
