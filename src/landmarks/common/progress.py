"""Progress on stderr: a bar on a terminal, elsewhere a line a tenth of the work, ten seconds apart at least."""

import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from tqdm import tqdm

Result = TypeVar("Result")

APART = 10.0  # seconds between two lines: what takes less prints none


class Progress(Protocol):
    """What the caller updates, as a context manager: ``n`` steps are done."""

    n: float

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End."""

    def update(self, n: float = 1) -> Any:
        """Count ``n`` more steps as done."""

    def set_postfix(self, **values: Any) -> None:
        """Show ``values`` beside the count."""


class Lines:
    """Progress where stderr is no terminal: a log, a pipe, CI."""

    def __init__(self, total: int | None, label: str, unit: str) -> None:
        """Begin at 0; without a ``total`` a line comes every ten seconds."""
        self.total, self.label, self.unit = total, label, unit
        self.n: float = 0
        self.note = ""
        self._tenth, self._said = 0, time.monotonic()

    def __enter__(self) -> Self:
        """Return the progress."""
        return self

    def __exit__(self, *_: object) -> None:
        """Say nothing: the stage says what came out."""

    def update(self, n: float = 1) -> None:
        """Count ``n`` more steps; print a line if they complete another tenth."""
        self.n += n
        tenth = int(10 * self.n / self.total) if self.total else self._tenth + 1
        now = time.monotonic()
        if tenth > self._tenth and now - self._said >= APART:
            self._tenth, self._said = tenth, now
            print(f"{self.label}: {self._count()}{self.note}", file=sys.stderr, flush=True)

    def set_postfix(self, **values: Any) -> None:
        """Print ``values`` in the next line."""
        self.note = "".join(f", {name} {value}" for name, value in values.items())

    def _count(self) -> str:
        scale, unit = (1e6, "MB") if self.unit == "B" else (1, f"{self.unit}s")
        of = f" of {self.total / scale:.0f}" if self.total else ""
        return f"{self.n / scale:.0f}{of} {unit}"


def bar(total: int | None, label: str, unit: str) -> Progress:
    """Return a progress that the caller updates; ``unit`` is the singular of what is counted, B of bytes."""
    if not sys.stderr.isatty():
        return Lines(total, label, unit)
    return tqdm(total=total, desc=label, unit=unit, unit_scale=unit == "B", mininterval=0.2, leave=False)


def over(results: Iterator[Result], total: int, label: str, unit: str = "photo") -> Iterator[Result]:
    """Yield the results; each is one step."""
    with bar(total, label, unit) as steps:
        for result in results:
            yield result
            steps.update()
