"""What the tests of parallel work let other processes do: a small module, since each process imports it."""

import os
import signal
import time
from pathlib import Path


def double(item: int, killers: frozenset[int], folder: Path, times: int) -> int:
    """Twice the item; one of ``killers`` ends its process, as the kernel does for memory, the first ``times`` times."""
    tries = len(list(folder.glob(f"{item}.*")))
    if item in killers and tries < times:
        (folder / f"{item}.{tries}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if item == 11:
        raise ValueError(item)
    return 2 * item


def slow(_: int) -> int:
    """The process, after a tenth of a second."""
    time.sleep(0.1)
    return os.getpid()


def meet(_: int, folder: Path, count: int) -> int:
    """The process, when as many as ``count`` have begun one of these, or after a minute."""
    (folder / f"{os.getpid()}.met").touch()
    end = time.monotonic() + 60
    while len(list(folder.glob("*.met"))) < count and time.monotonic() < end:
        time.sleep(0.02)
    return os.getpid()


class DeadlyPath(type(Path())):  # type: ignore[misc]  # the class of this system
    """A photo that takes more memory than there is: reading it ends the process."""

    def read_bytes(self) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""
