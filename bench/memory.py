"""How much memory a program holds, its workers with it."""

import contextlib
import os
import threading
from collections.abc import Iterator

import psutil


def held(process: int) -> float:
    """Proportional set size of a process and all that it started, GB: what they share is counted once."""
    total = 0
    with contextlib.suppress(psutil.Error):  # it has ended meanwhile
        root = psutil.Process(process)
        for each in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += each.memory_full_info().pss
    return total / 1e9


@contextlib.contextmanager
def peak(found: list[float]) -> Iterator[None]:
    """Append the most memory that this process and its children held at once, GB (shared pages counted once)."""
    over, most = threading.Event(), [0.0]

    def watch() -> None:
        while not over.wait(0.2):
            most[0] = max(most[0], held(os.getpid()))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        found.append(most[0])
