"""Work on single photos on a Dask cluster. Nothing but ``parallel.each`` imports this module, and only where it is asked for.

Batches of ids and paths travel to the workers and results back; photos are read and written by the workers, in the folders
that they share with this machine (docs/scale.md). A batch takes about a second, so that what Dask itself costs does not count.
"""

import functools
import logging
import queue
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import landmarks
from landmarks.common.errors import InputError
from landmarks.common.files import read_yaml
from landmarks.common.result_cache import package_hash

try:
    import dask
    from distributed import Client, Future, KilledWorker, LocalCluster, get_worker
    from distributed.protocol import pickle
except ImportError as missing:
    raise InputError(f"LANDMARKS_CLUSTER needs Dask ({missing}); run: make cluster (or unset it)") from None

Item = TypeVar("Item")
Result = TypeVar("Result")

# In place of an address: a scheduler and its workers on this machine, for as long as this process lives
LOCAL = "local"
SECONDS = 1.0  # that a batch should take, at least
TASK = 0.005  # seconds of the scheduler and of this process that a batch costs: of many workers it takes longer, so that they keep up
MOST = 256  # items of a batch
AHEAD = 2  # batches a worker that are handed out: the next one waits there while one is worked on
WINDOW = 4  # batches a worker that are handed out or wait to be consumed: what memory holds
PATIENCE = 60.0  # seconds that the scheduler or a first worker may take, and that there may be no worker
TRIES = 2  # times that work is done again whose worker died, before its items are tried alone: of `local`
# Of `local`; docs/scale.md sets the same for workers that are started by hand. The C library keeps what it freed: Dask's own
# value, or the one that fits threads, gives it back at every photo. The profiler looks at each worker 100 times a second
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
MEMORY = {"MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "33554432"}
SETTINGS = {
    "scheduler.allowed-failures": TRIES - 1, "nanny.pre-spawn-environ": {**THREADS, **MEMORY},
    "worker.profile.enabled": False, "admin.tick.interval": "1s",
    "deploy.lost-worker-timeout": "30 days",  # 15 s after one was killed, Dask gives it up if it is being started again just then
}  # fmt: skip
LIBRARIES = ("distributed", "cloudpickle")  # beside those of versions.yaml
VERSIONS = Path(landmarks.__file__).parents[2] / "versions.yaml"
START = "start it in the checkout: PYTHONPATH=src dask worker ... --nthreads 1 (docs/scale.md)"

Identity = dict[str, str]


def each(
    address: str,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    processes: int,
    killed: Callable[[int], Result],
    shared: bool = True,
) -> Generator[Result]:
    """Yield ``function(item)``, which raises nothing, in the order of ``items``, computed by the workers of the scheduler at ``address``.

    ``local`` for the address starts a scheduler and ``processes`` workers here. A batch whose worker dies is done again by
    another one as often as the scheduler allows (``allowed-failures``); then its items are tried alone, while no other work
    is handed out, and ``killed(place)`` is yielded for those whose workers die again. Workers may join and leave meanwhile.
    Raises ``InputError`` if the scheduler cannot be reached, has no worker, or has one of other code, versions or folders.
    """
    if items:
        with _witness() if shared else nullcontext() as witness:
            client = _local(processes) if address == LOCAL else _client(address)
            yield from _Run(client, (identity(), witness, pickle.dumps(function)), items, killed).results()


class _Run:
    """One call of ``each``: what is handed out, what came back and waits for its turn."""

    def __init__(
        self, client: Client, work: tuple[Any, ...], items: Sequence[Any], killed: Callable[[int], Any]
    ) -> None:
        self.client, self.work, self.items, self.killed = client, work, items, killed
        self.running: dict[str, tuple[Future, range]] = {}  # by key
        self.done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self.came: dict[int, list[Any]] = {}  # results of a batch by the place of its first item
        self.suspects: deque[range] = deque()  # batches that are to be tried item by item
        self.handed = 0  # items
        self.size, self.aim = 1, SECONDS  # items and seconds of a batch

    def results(self) -> Generator[Any]:
        place = 0
        try:
            while place < len(self.items):
                self._hand_out()
                if self.running:
                    self._take(self._next())
                elif self.suspects:
                    places = self.suspects.popleft()
                    self.came[places.start] = [self._alone(k) for k in places]
                while results := self.came.pop(place, None):
                    place += len(results)
                    yield from results
        finally:  # an error here, or the caller has stopped: what the workers have begun, they end
            self.client.cancel([future for future, _ in self.running.values()])

    def _hand_out(self) -> None:
        workers = max(len(self.client.nthreads()), 1)
        self.aim = max(SECONDS, 2 * TASK * workers)
        while self.handed < len(self.items) and not self.suspects:
            if len(self.running) >= AHEAD * workers or len(self.running) + len(self.came) >= WINDOW * workers:
                break
            fair = -(
                -(len(self.items) - self.handed) // (WINDOW * workers)
            )  # smaller and smaller: all end at the same time
            places = range(self.handed, self.handed + min(self.size, fair))
            future = self._submit(places)
            self.running[future.key] = future, places
            future.add_done_callback(self.done.put)
            self.handed = places.stop

    def _submit(self, places: Sequence[int]) -> Future:
        return self.client.submit(_batch, *self.work, [self.items[place] for place in places], pure=False)

    def _next(self) -> Future:
        """The next batch that ended. Raises ``InputError`` if no worker is left for ``PATIENCE`` seconds."""
        while True:
            try:
                return self.done.get(timeout=PATIENCE)
            except queue.Empty:
                _require_workers(self.client)

    def _take(self, future: Future) -> None:
        _, places = self.running.pop(future.key)
        try:
            seconds, self.came[places.start] = _result(future)
        except KilledWorker:
            self.suspects.append(places)
        else:
            self.size = max(1, min(int(self.aim * len(places) / max(seconds, 1e-6)), MOST))

    def _alone(self, place: int) -> Any:
        try:
            return _result(self._submit([place]))[1][0]
        except KilledWorker:
            return self.killed(place)


def _result(future: Future) -> tuple[float, list[Any]]:
    try:
        seconds, results = future.result()
    except (InputError, KilledWorker):
        raise
    except Exception as error:  # not of a photo: those are results
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"the cluster cannot do the work ({problem}); {START}; what is done is kept") from error
    return seconds, results


def _batch(expected: Identity, witness: Path | None, work: bytes, items: list[Any]) -> tuple[float, list[Any]]:
    """On a worker: seconds and results of ``items``. Raises ``InputError`` if it is another code's, or sees other folders."""
    worker = get_worker()
    if problem := _refusal(expected, witness, worker.state.nthreads):
        raise InputError(f"worker {worker.address} is refused: {problem}; {START}")
    function, start = _loaded(work), time.monotonic()
    results = [function(item) for item in items]
    return time.monotonic() - start, results


def _refusal(expected: Identity, witness: Path | None, threads: int) -> str:
    """Why this process may not work for who sent ``expected`` and wrote ``witness``, if anything; empty if it may."""
    for name, value in expected.items():
        if (own := identity().get(name, "missing")) != value:
            return f"its {name} is {own}, here it is {value}"
    if witness and not witness.exists():
        return f"it does not see the folder {witness.parent} that the photos are in"
    return f"it has {threads} threads, and OpenCV's networks take one" if threads > 1 else ""


@functools.cache
def identity() -> Identity:
    """What must be the same on all machines, as it was when this process first asked: code, libraries, Python."""
    names = (*read_yaml(VERSIONS), *LIBRARIES)
    code = package_hash()[:12]
    python = ".".join(map(str, sys.version_info[:2]))
    return {"code in src/landmarks": code, "Python": python, **{name: metadata.version(name) for name in names}}


@functools.lru_cache(maxsize=1)
def _loaded(work: bytes) -> Callable[[Any], Any]:
    """The function, once a process and not once a batch: what it carries stays."""
    function: Callable[[Any], Any] = pickle.loads(work)
    return function


@contextmanager
def _witness() -> Iterator[Path]:
    """A file where the stages write, for as long as there is work: who does not see it would not find the photos."""
    path = Path("data" if Path("data").is_dir() else ".") / f".cluster-{secrets.token_hex(8)}"
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@functools.cache
def _local(processes: int) -> Client:
    """A scheduler and its workers here, one a process of ours."""
    _quiet()
    # For good: some are asked for later
    dask.config.set({f"distributed.{name}": value for name, value in SETTINGS.items()})
    return Client(LocalCluster(n_workers=processes, threads_per_worker=1, memory_limit=0, dashboard_address=":0"))


@functools.cache
def _client(address: str) -> Client:
    """The connection, one a process."""
    _quiet()
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        problem = f"LANDMARKS_CLUSTER is {address!r}, and no Dask scheduler answers there ({error})"
        raise InputError(f"{problem}; start one (docs/scale.md), or unset it") from None
    _require_workers(client)
    return client


def _quiet() -> None:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a worker that is started again costs ten lines


def _require_workers(client: Client) -> None:
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        raise InputError(f"no worker has joined the scheduler for {PATIENCE:.0f} s; {START}") from None
