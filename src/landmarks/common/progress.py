"""Progress bars on stderr; a line a tenth where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, TypeVar

from tqdm import tqdm

Result = TypeVar("Result")


def bar(total: int | None, label: str, unit: str) -> tqdm[Any]:
    """A bar to be updated by hand."""
    quiet = not sys.stderr.isatty()
    return tqdm(
        total=total, desc=label, unit=unit, unit_scale=unit == "B", mininterval=10 if quiet else 0.2, leave=not quiet
    )


def over(results: Iterator[Result], total: int, label: str, unit: str = "photo") -> Iterator[Result]:
    """The same results, each of them a step of a bar."""
    with bar(total, label, unit) as steps:
        for result in results:
            yield result
            steps.update()
