"""The photos of a catalogue that a cleaned list names, as Google Landmarks v2's train_clean.csv does."""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from landmarks.common.errors import InputError
from landmarks.dataset import schema, table_files
from landmarks.dataset.table_files import TableFile

COLUMNS = ("landmark_id", "images")  # ids separated by spaces
ROWS = ("id", "landmark_id")  # the same as one row a photo: Kaggle's train.csv of 2020 and 2021
BLOCK = 1 << 24  # bytes; a row of the list holds thousands of ids
INTEGER_AS_FLOAT = r"^(-?[0-9]+)\.0*$"


def landmark_ids(column: pa.StringArray) -> pa.StringArray:
    """Landmark ids as text, integers that are written as floats (``9633.0``) as integers; everything else as it is."""
    return pc.replace_substring_regex(column, INTEGER_AS_FLOAT, r"\1")


class CleanSubset:
    """Which photos are kept, and their landmarks. 40 bytes or so a photo are held in memory."""

    def __init__(self, table: TableFile) -> None:
        """Read a list with the columns landmark_id and images, or id and landmark_id.

        Raises ``InputError`` if it has other columns, names no photo, or puts one under two landmarks.
        """
        names = table_files.header(table)
        grouped = set(COLUMNS) <= set(names) or not set(ROWS) <= set(names)
        found = table_files.batches(table, COLUMNS if grouped else ROWS, BLOCK)
        parts = [_by_photo(batch) if grouped else (batch["id"], batch["landmark_id"]) for batch in found]
        ids, landmarks = (pa.chunked_array(list(part), pa.string()) for part in zip(*parts, strict=True))
        ids = pc.utf8_trim_whitespace(ids)
        unsafe = pc.indices_nonzero(pc.invert(pc.match_substring_regex(ids, f"^{schema.SAFE_ID}$")))
        if len(unsafe):
            raise InputError(f"{table.name}: {ids[unsafe[0].as_py()].as_py()!r} is no id of a photo; remove it")
        if not len(ids):
            raise InputError(f"{table.name}: names no photo; give a list of photos, or set catalogue.clean to ''")
        texts = _fixed(ids)
        order = np.argsort(texts, kind="stable")
        self._ids: NDArray[np.bytes_] = texts[order]
        self._landmarks = landmark_ids(pc.utf8_trim_whitespace(landmarks)).take(pa.array(order)).dictionary_encode()
        self._landmarks = self._landmarks.unify_dictionaries().combine_chunks()
        self._require_one_landmark(table)

    def select(self, found: Iterable[pa.RecordBatch], counts: Counter[str]) -> Iterator[pa.RecordBatch]:
        """The rows (id, url, landmark_id) whose id is in the list, their landmark that of the list.

        ``counts`` gets ``rows``, ``kept``, and how many of these had another landmark: ``relabelled``.
        """
        width = self._ids.dtype.itemsize
        for batch in found:
            ids = pc.utf8_trim_whitespace(batch["id"])
            texts = _fixed(ids, width)
            places = np.minimum(np.searchsorted(self._ids, texts), len(self._ids) - 1)
            fits = pc.less_equal(pc.binary_length(ids), width).to_numpy(zero_copy_only=False)
            kept = pa.array((self._ids[places] == texts) & fits)
            rows = batch.filter(kept)
            landmarks = self._landmarks.take(pa.array(places)).filter(kept).cast(pa.string())
            other = pc.not_equal(landmark_ids(pc.utf8_trim_whitespace(rows["landmark_id"])), landmarks)
            counts.update(rows=len(batch), kept=len(rows), relabelled=pc.sum(other).as_py() or 0)
            if len(rows):
                yield pa.record_batch([rows["id"], rows["url"], landmarks], rows.schema.names)

    def __len__(self) -> int:
        """Photos in the list."""
        return len(self._ids)

    def _require_one_landmark(self, table: TableFile) -> None:
        codes = self._landmarks.indices.to_numpy()
        same = self._ids[1:] == self._ids[:-1]
        if (twice := same & (codes[1:] != codes[:-1])).any():
            place = int(twice.argmax())
            one, other = (self._landmarks[place + step].as_py() for step in (0, 1))
            photo = self._ids[place].decode()
            raise InputError(f"{table.name}: the photo {photo!r} is under the landmarks {one} and {other}; remove one")
        self._landmarks = self._landmarks.take(pa.array(np.flatnonzero(np.append(True, ~same))))
        self._ids = self._ids[np.append(True, ~same)]


def _by_photo(batch: pa.RecordBatch) -> tuple[pa.StringArray, pa.StringArray]:
    """Ids and landmarks, one row a photo, of rows with several ids each."""
    photos = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(batch["images"]))
    landmarks = batch["landmark_id"].take(pc.list_parent_indices(photos))
    ids = pc.list_flatten(photos)
    named = pc.not_equal(ids, "")  # an empty cell splits into one empty string
    return ids.filter(named), landmarks.filter(named)


def _fixed(ids: pa.Array | pa.ChunkedArray, width: int | None = None) -> NDArray[np.bytes_]:
    """Ids as an array of bytes of one width, that of the longest or ``width``, to which longer ones are cut."""
    width = width or max(pc.max(pc.binary_length(ids)).as_py() or 1, 1)
    return np.array(ids.cast(pa.binary()).to_pylist(), f"S{width}")
