"""Small tables between stages, read without pandas, which a server has no use for."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from landmarks.common.errors import InputError
from landmarks.dataset import schema


def read(path: Path, columns: Sequence[str], command: str = "dvc repro") -> Iterator[dict[str, str]]:
    """The rows of a CSV file as text, by column; further columns than ``columns`` may be there.

    Raises ``InputError`` if the file is missing, which ``command`` makes, lacks a column, or is no CSV file.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, restval="")
            schema.require(path, list(rows.fieldnames or []), columns)
            yield from rows
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: {command}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable CSV file: {error}") from None
