"""What a model says of every photo: the probability of each landmark, as a Parquet file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from landmarks.common.errors import InputError
from landmarks.common.files import whole
from landmarks.dataset import schema

COLUMNS = ("id", "actual", "predicted", "confidence")
PROBABILITY = "p:"  # before a landmark's name: the column of its probability


def write(
    path: Path, ids: Iterable[str], actual: Iterable[str], labels: Sequence[str], probabilities: NDArray[Any]
) -> NDArray[np.bool_]:
    """Write a Parquet file of id, actual, predicted, confidence and a float32 column ``PROBABILITY + label`` for each label.

    ``probabilities`` is (n, labels); the confidence is the largest of a photo. Returns which answers are right, (n,). Raises
    ``InputError`` if a probability is no number.
    """
    if not np.isfinite(probabilities).all():
        raise InputError(f"{path}: some photos get no probability; have the model's training photos any keypoints?")
    best = probabilities.argmax(axis=1)
    told = {"id": list(ids), "actual": list(actual), "predicted": np.asarray(labels)[best].tolist()}
    confidence = probabilities[np.arange(len(best)), best].astype(float).round(6)
    of_each = {PROBABILITY + label: probabilities[:, column].astype(np.float32) for column, label in enumerate(labels)}
    with whole(path) as partial:
        parquet.write_table(pa.table({**told, "confidence": confidence, **of_each}), partial, compression="zstd")
    return np.asarray(told["actual"]) == np.asarray(told["predicted"])


def read(path: Path, landmarks: pd.Series) -> pd.DataFrame:
    """What ``write`` wrote, in the order of ``landmarks``, which are indexed by id.

    Raises ``InputError`` if it is of other photos or landmarks, or a probability or confidence is none.
    """
    table = _read_parquet(path).set_index("id")
    if set(table.index) != set(landmarks.index) or table.index.has_duplicates:
        raise InputError(f"{path}: not the photos of the split stage; run: dvc repro")
    table = table.loc[landmarks.index]
    if wrong := list(table.index[table["actual"] != landmarks]):
        raise InputError(f"{path}: the photo {wrong[0]!r} is of another landmark than in the split; run: dvc repro")
    if not (known := (PROBABILITY + table["actual"]).isin(table.columns)).all():
        raise InputError(f"{path}: the photo {known.idxmin()!r} has no probability of its landmark; run: dvc repro")
    sound = table["confidence"].between(0, 1)
    for name in table.columns:  # one after the other: of 1,000 landmarks they are most of the memory
        if name.startswith(PROBABILITY):
            sound &= table[name].between(0, 1)
    if not sound.all():
        raise InputError(f"{path}: the photo {sound.idxmin()!r} has no confidence between 0 and 1; run: dvc repro")
    return table


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


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = parquet.read_table(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that makes it: dvc repro") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: not a readable Parquet file: {error}; run the stage that makes it: dvc repro"
        ) from None
    schema.require(path, table.column_names, COLUMNS)
    if not pa.types.is_floating(table.schema.field("confidence").type):
        raise InputError(f"{path}: the column 'confidence' holds no numbers; run the stage that makes it: dvc repro")
    return table.to_pandas()
