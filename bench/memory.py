"""How much memory a program holds, its workers with it."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

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
def meanwhile(seconds: float, act: Callable[[], object]) -> Iterator[None]:
    """Call ``act`` every so many seconds, on a thread, for as long as the block runs."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            act()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def peak(found: list[float]) -> Iterator[None]:
    """Append the most memory that this process and its children held at once, GB (shared pages counted once)."""
    seen = [0.0]
    try:
        with meanwhile(0.2, lambda: seen.append(held(os.getpid()))):
            yield
    finally:
        found.append(max(seen))
