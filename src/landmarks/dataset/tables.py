"""Contracts between stages: named columns, checked where they are read."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from landmarks.common.errors import InputError
from landmarks.common.files import whole
from landmarks.dataset import schema


def read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read ``columns`` of a CSV file as text, nothing taken for null.

    Raises ``InputError`` if the file is missing, empty or lacks a column.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that makes it: dvc repro") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable CSV file: {error}") from None
    schema.require(path, list(table.columns), columns)
    return table[list(columns)]


def write(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV file, whole or not at all."""
    with whole(path) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")


def check_ids(path: Path, table: pd.DataFrame) -> None:
    """Raise ``InputError`` at the first id that cannot name a file or stands twice (rows counted with the header)."""
    safe = table["id"].str.fullmatch(schema.SAFE_ID)
    if not safe.all():
        row = int((~safe).to_numpy().argmax())
        raise InputError(f"{path}: row {row + 2}: the id {table['id'].iloc[row]!r} cannot name a file; rename it")
    twice = table["id"].duplicated()
    if twice.any():
        row = int(twice.to_numpy().argmax())
        raise InputError(f"{path}: row {row + 2}: the id {table['id'].iloc[row]!r} stands in an earlier row; remove it")


def read_split(path: Path, ids: Iterable[str] | None = None, landmarks: Iterable[str] | None = None) -> pd.DataFrame:
    """The rows of the split stage (landmark_id, split, group): all, or for ``ids``, in their order, of ``landmarks``.

    Raises ``InputError`` if the two don't speak of the same photos, or if a row is not as that stage writes it.
    """
    table = read(path, ["id", "landmark_id", "split", "group"])
    numbered = table["group"].str.fullmatch("[0-9]{1,18}")
    sound = {
        "id": ~table["id"].duplicated(),
        "split": table["split"].isin((*schema.PARTS, schema.EXTERNAL, schema.COPY)),
        "group": numbered,
    }
    for column, holds in sound.items():
        if not holds.all():
            row = int((~holds).to_numpy().argmax())
            wrong = f"row {row + 2}: {column} {table[column].iloc[row]!r}"
            raise InputError(f"{path}: {wrong} stands twice or is none; run: dvc repro --force split")
    table = table.set_index("id")
    if ids is None:
        return table
    if strangers := set(ids).symmetric_difference(table.index):
        raise InputError(f"{path}: {min(strangers)!r} is in the split or the features, not in both; run: dvc repro")
    table = table.loc[list(ids)]
    if landmarks is not None and (other := table["landmark_id"] != list(landmarks)).any():
        raise InputError(f"{path}: the photo {other.idxmax()!r} is of another landmark in the features; run: dvc repro")
    return table


def require_parts(path: Path, there: Iterable[str], parts: Iterable[str] = schema.PARTS) -> None:
    """Raise ``InputError`` if no photo of the split at ``path`` is for one of ``parts``; ``there`` holds the part of each."""
    if lacking := [part for part in parts if part not in set(there)]:
        raise InputError(f"{path}: no photo is for {lacking[0]}; run: dvc repro --force split")
