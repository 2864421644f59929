"""How much memory a program holds, its workers with it."""

import contextlib

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
