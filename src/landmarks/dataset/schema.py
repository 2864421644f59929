"""What stages may rely on: which columns a table has, which ids name a file, in which order landmarks stand."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landmarks.common.errors import InputError

PARTS = ("train", "validation", "test")
EXTERNAL = "external"  # the part of photos from another source: nothing is trained on them or chosen by them
COPY = "copy"  # what stands for the part of those that resemble a photo of the first source: they are in no part
EXTERNAL_ID = f"{EXTERNAL}."  # what their ids begin with, so that two catalogues may have the same ids
UNKNOWN = "unknown"  # stands for the landmark of photos of other landmarks: nothing is trained on them
SAFE_ID = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"  # an id names a file: no separator, no leading dot or dash, no blank


def require(path: Path | str, found: list[str], columns: Sequence[str]) -> None:
    """Raise ``InputError`` naming the first of ``columns`` that is not ``found`` once, and what it may have been called."""
    if not found:
        raise InputError(f"{path}: empty; give a CSV with the columns {', '.join(columns)}")
    for column in columns:
        if column not in found:
            called = {name.lower(): name for name in found}
            near = difflib.get_close_matches(column, called, n=1, cutoff=0.5)
            hint = f"; is it the column {called[near[0]]!r}?" if near else "."
            there = ", ".join(map(repr, found))
            raise InputError(f"{path}: no column {column!r} among {there}{hint} Rename it in row 1")
        if found.count(column) > 1:
            raise InputError(
                f"{path}: {found.count(column)} columns are called {column!r}; rename all but one in row 1"
            )


def is_external(photo: str) -> bool:
    """Whether the photo of this id is from the source of the external test."""
    return photo.startswith(EXTERNAL_ID)


def natural(landmark: str) -> tuple[Any, ...]:
    """Sort key that puts landmark 9 before landmark 10 and both before names."""
    return (0, int(landmark), landmark) if re.fullmatch(r"[0-9]{1,18}", landmark) else (1, landmark)
