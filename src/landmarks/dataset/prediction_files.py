"""What a model says of every photo: the probability of each landmark, as a Parquet file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from landmarks.common import arrays
from landmarks.common.errors import InputError
from landmarks.common.files import whole
from landmarks.dataset import schema

ANSWER = ("actual", "predicted", "confidence")
COLUMNS = ("id", *ANSWER)
ROWS = 2**16  # photos of a row group
PROBABILITY = "p:"  # before a landmark's name: the column of its probability


def write(
    path: Path, ids: Iterable[str], actual: Iterable[str], labels: Sequence[str], probabilities: NDArray[Any]
) -> NDArray[np.bool_]:
    """Write a Parquet file of id, actual, predicted, confidence and a float32 column ``PROBABILITY + label`` for each label.

    ``probabilities`` is (n, labels); the confidence is the largest of a photo. Returns which answers are right, (n,). Raises
    ``InputError`` if a probability is no number.
    """
    best = probabilities.argmax(axis=1)
    told = {"id": list(ids), "actual": list(actual), "predicted": np.asarray(labels)[best].tolist()}
    columns = {**dict.fromkeys(told, pa.string()), "confidence": pa.float64()}
    form = pa.schema({**columns, **dict.fromkeys((PROBABILITY + label for label in labels), pa.float32())})
    with whole(path) as partial, parquet.ParquetWriter(partial, form, compression="zstd") as file:
        # A copy of all, column by column, would be as large as they are
        for start in range(0, max(len(best), 1), ROWS):
            rows = slice(start, start + ROWS)
            shares, answers = probabilities[rows], best[rows]
            if not np.isfinite(shares).all():
                lacking = "some photos get no probability; have the model's training photos any keypoints?"
                raise InputError(f"{path}: {lacking}")
            confidence = shares[np.arange(len(answers)), answers].astype(float).round(6)
            of_each = [column.astype(np.float32) for column in shares.T]
            file.write_table(pa.table([*(values[rows] for values in told.values()), confidence, *of_each], form))
    return np.asarray(told["actual"]) == np.asarray(told["predicted"])


def read(path: Path, landmarks: pd.Series) -> pd.DataFrame:
    """What ``write`` wrote, in the order of ``landmarks``, which are indexed by id; memory holds the probabilities once.

    Raises ``InputError`` if it is of other photos or landmarks, or a probability or confidence is none.
    """
    file = _open(path)
    table, places = _answers(path, file, landmarks)
    names = [name for name in file.schema_arrow.names if name.startswith(PROBABILITY)]
    if not (known := (PROBABILITY + table["actual"]).isin(names)).all():
        raise InputError(f"{path}: the photo {known.idxmin()!r} has no probability of its landmark; run: dvc repro")
    shares, start = np.empty((len(table), len(names)), np.float32), 0
    sound = table["confidence"].between(0, 1).to_numpy().copy()
    for batch in file.iter_batches(arrays.BLOCK, columns=names):
        own = places[start : start + batch.num_rows]
        shares[own] = np.stack(batch.columns, axis=1)
        sound[own] &= ((shares[own] >= 0) & (shares[own] <= 1)).all(axis=1)
        start += batch.num_rows
    if not sound.all():
        photo = table.index[int(sound.argmin())]
        raise InputError(f"{path}: the photo {photo!r} has no confidence between 0 and 1; run: dvc repro")
    whole_table = pd.DataFrame(shares, index=table.index, columns=names, copy=False)
    for place, name in enumerate(ANSWER):
        whole_table.insert(place, name, table[name])
    return whole_table


def answers(path: Path, landmarks: pd.Series) -> pd.DataFrame:
    """The same without the probabilities, which are not read."""
    return _answers(path, _open(path), landmarks)[0]


def _answers(path: Path, file: parquet.ParquetFile, landmarks: pd.Series) -> tuple[pd.DataFrame, NDArray[np.intp]]:
    """Actual, predicted and confidence in the order of ``landmarks``, and the place there of each row of the file."""
    table = file.read(list(COLUMNS)).to_pandas().set_index("id")
    places = landmarks.index.get_indexer(table.index)
    if len(table) != len(landmarks) or (places < 0).any() or table.index.has_duplicates:
        raise InputError(f"{path}: not the photos of the split stage; run: dvc repro")
    table = table.loc[landmarks.index]
    if wrong := list(table.index[table["actual"] != landmarks]):
        raise InputError(f"{path}: the photo {wrong[0]!r} is of another landmark than in the split; run: dvc repro")
    return table, places


class Predictions(Mapping[str, pd.DataFrame]):
    """What ``read`` gives of each file, by model, read whenever it is asked for: memory holds one model at a time."""

    def __init__(self, files: Mapping[str, Path], landmarks: pd.Series) -> None:
        """Take the ``files`` by model, and the ``landmarks`` of the photos, which are indexed by id."""
        self._files, self._landmarks = files, landmarks

    def __getitem__(self, model: str) -> pd.DataFrame:
        """Read the file of a model."""
        return read(self._files[model], self._landmarks)

    def __iter__(self) -> Iterator[str]:
        """The models in their order."""
        return iter(self._files)

    def __len__(self) -> int:
        """How many models there are."""
        return len(self._files)


def probabilities(table: pd.DataFrame) -> tuple[list[str], NDArray[np.float64]]:
    """The landmarks of what ``read`` gave, and the probability of each, (n, landmarks)."""
    columns = [name for name in table.columns if name.startswith(PROBABILITY)]
    return [name.removeprefix(PROBABILITY) for name in columns], table[columns].to_numpy(float)


def accuracies(right: NDArray[np.bool_], parts: "pd.Series[str]") -> str:
    """The accuracy on validation and training photos, in words; ``right`` (n,) and the ``parts`` they are for, in one order.

    That on test photos is not for one who still chooses: ``evaluate`` has it.
    """
    shares = (f"{right[(parts == part).to_numpy()].mean():.3f} on {part}" for part in ("validation", "train"))
    return f"top-1 {', '.join(shares)}"


def _open(path: Path) -> parquet.ParquetFile:
    try:
        file = parquet.ParquetFile(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that makes it: dvc repro") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: not a readable Parquet file: {error}; run the stage that makes it: dvc repro"
        ) from None
    schema.require(path, file.schema_arrow.names, COLUMNS)
    if not pa.types.is_floating(file.schema_arrow.field("confidence").type):
        raise InputError(f"{path}: the column 'confidence' holds no numbers; run the stage that makes it: dvc repro")
    return file
