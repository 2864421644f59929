"""Reading what other stages wrote, for a report: each file is remembered, and one that is not as expected is named."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from landmarks.common.errors import InputError
from landmarks.common.files import read_json
from landmarks.dataset import tables


class Inputs:
    """The files that a report is made from."""

    def __init__(self) -> None:
        self.paths: dict[Path, None] = {}

    def __call__(self, path: Path) -> Path:
        """Remember ``path`` and hand it back. Raises ``InputError`` if there is none."""
        if not path.is_file():
            raise InputError(f"{path}: no such file; run the stage that makes it: dvc repro")
        self.paths[path] = None
        return path

    def listed(self) -> list[tuple[str, int, str]]:
        """Name, bytes and MD5 of each, as dvc.lock records them, sorted by name."""
        rows = []
        for path in sorted(self.paths):
            content = path.read_bytes()
            rows.append((path.as_posix(), len(content), hashlib.md5(content, usedforsecurity=False).hexdigest()))
        return rows


def numbers(path: Path, columns: Sequence[str], texts: Sequence[str] = ()) -> pd.DataFrame:
    """A CSV file of numbers, and of ``texts``. Raises ``InputError`` if it has no rows or a cell holds no number."""
    table = tables.read(path, [*texts, *columns])
    if table.empty:
        raise InputError(f"{path}: a header and no rows; run the stage that makes it: dvc repro --force")
    for column in columns:
        values = pd.to_numeric(table[column], errors="coerce")
        if (wrong := values.isna().to_numpy()).any():
            row = int(wrong.argmax())
            wrong_value = f"{column} {table[column].iloc[row]!r} is no number"
            raise InputError(f"{path}: row {row + 2}: {wrong_value}; run: dvc repro --force")
        table[column] = values
    return table


def dotted(values: Any, name: str) -> Any:
    """The value of ``a.b``, by keys of mappings and fields of dataclasses; None where there is none."""
    for part in name.split("."):
        values = values.get(part) if isinstance(values, dict) else getattr(values, part, None)
    return values


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one mapping with dotted names."""
    named: dict[str, Any] = {}
    for name, value in values.items():
        named.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return named


def recipe(path: Path) -> dict[str, Any]:
    """Every setting that a network was trained with, by the name of its parameter, from the JSON of the cnn stage.

    Raises ``InputError`` if the file is missing or is something else.
    """
    stored = read_json(path, "cnn")
    require(path, stored, ["recipe.training.module"], "dvc repro --force cnn")
    return {name.rpartition(".")[2]: value for name, value in flat(stored["recipe"]).items()}


def layers_of(path: Path) -> list[dict[str, Any]]:
    """The layers of a network, as ``deep.classifier.summary`` tells them, from the JSON of the cnn stage; errors as above."""
    stored = read_json(path, "cnn")
    require(path, stored, ["layers"], "dvc repro --force cnn")
    return list(stored["layers"])


def require(path: Path, values: Any, names: Iterable[str], command: str) -> None:
    """Raise ``InputError`` naming the first of the dotted ``names`` that ``values``, read from ``path``, lacks."""
    for name in names:
        if dotted(values, name) is None:
            raise InputError(f"{path}: no {name} in it; run: {command}")
