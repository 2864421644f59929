"""Progress bars on stderr; a line every ten seconds if stderr is no terminal."""

import sys
from collections.abc import Iterator
from typing import Any, TypeVar

from tqdm import tqdm

Result = TypeVar("Result")


def bar(total: int | None, label: str, unit: str) -> "tqdm[Any]":
    """Return a bar that the caller updates."""
    quiet = not sys.stderr.isatty()
    often: dict[str, Any] = {"mininterval": 10 if quiet else 0.2, "leave": not quiet}
    return tqdm(total=total, desc=label, unit=unit, unit_scale=unit == "B", **often)


def over(results: Iterator[Result], total: int, label: str, unit: str = "photo") -> Iterator[Result]:
    """Yield the results; each is one step of a bar."""
    with bar(total, label, unit) as steps:
        for result in results:
            yield result
            steps.update()
