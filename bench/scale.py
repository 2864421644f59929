"""What the experiment costs as it grows, and what a cluster adds: all on synthetic photos and vectors, so anyone can run it.

python bench/scale.py cluster    the default of two processes beside LANDMARKS_CLUSTER=local with two workers, interleaved
python bench/scale.py kills      workers killed at random: the same bytes, and how much was done twice
python bench/scale.py photos     seconds of CPU a photo and peak memory of each stage, at two sizes (--sizes 1000 --sizes 2000)
python bench/scale.py vectors    200,000 photos of 1,000 landmarks without pixels: split, SVM, head, evaluate, plots
python bench/scale.py simulate   where the next wall is: 1 to 1,000 workers, in arithmetic
"""

import contextlib
import hashlib
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import pandas as pd
import psutil
import typer

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

import memory  # noqa: E402
import vectors  # noqa: E402

import keypoints  # noqa: E402
import stage  # noqa: E402
from landmarks.classical.local_features import FeatureConfig, FeatureSettings, KeypointsConfig  # noqa: E402
from landmarks.common import cluster as dask_cluster  # noqa: E402
from landmarks.common import parallel  # noqa: E402
from landmarks.demo import renderer  # noqa: E402
from landmarks.privacy import gate  # noqa: E402

WORKERS = 2
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(vectors.vectors)


def _render(item: tuple[int, int], folder: Path) -> str:
    landmark, view = item
    name = f"p{landmark:04}_{view:03}"
    (folder / f"{name}.jpg").write_bytes(renderer.photo(7, landmark, view))
    return name


def _photos(folder: Path, count: int, per_landmark: int = 100) -> list[str]:
    """Render so many photos into ``folder``; their ids."""
    items = [(number // per_landmark, number % per_landmark) for number in range(count)]
    return list(parallel.sound(parallel.each(partial(_render, folder=folder), items, "render")))


def _examined(original: gate.Original, folder: Path, settings: gate.GateSettings) -> bytes:
    return gate.examine(original.path, folder / f"{original.id}.jpg", settings).sha256.encode()


def _works(ids: list[str], folder: Path) -> dict[str, tuple[Callable[[Any], bytes], list[Any]]]:
    """What the two stages do to a photo, and the items that they are given."""
    feature = FeatureConfig(**stage.params()["features"]["kaze"])
    settings = FeatureSettings(**vars(stage.block("keypoints", KeypointsConfig)), **vars(feature))
    out = folder / "out"
    out.mkdir(exist_ok=True)
    originals = [gate.Original(photo, folder / f"{photo}.jpg") for photo in ids]
    return {
        "gate": (partial(_examined, folder=out, settings=stage.block("anonymize", gate.GateSettings)), originals),
        "keypoints": (
            partial(keypoints._described, settings=settings),
            [keypoints.Task(*original) for original in originals],
        ),
    }


def _digest(work: Callable[[Any], bytes], items: list[Any], cluster: str) -> str:
    """The hash of all results in their order, computed on a cluster or, where it has no name, in processes."""
    with mock.patch.dict(os.environ, {"LANDMARKS_WORKERS": str(WORKERS), "LANDMARKS_CLUSTER": cluster}):
        found = hashlib.sha256()
        for result in parallel.sound(parallel.each(work, items, cluster or "processes")):
            found.update(result)
        return found.hexdigest()


def _cpu() -> float:
    """Seconds of CPU of this process and all that it started and that still run."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:2])
    return total


@app.command()
def cluster(
    photos: Annotated[int, typer.Option(help="Photos")] = 200,
    rounds: Annotated[int, typer.Option(help="Pairs; the median ratio counts")] = 5,
    address: Annotated[str, typer.Option(help="Of a scheduler with two workers that were started by hand")] = "local",
    only: Annotated[str, typer.Option(help="gate or keypoints; else both")] = "",
) -> None:
    """Photos a second on the cluster, by those of the default, in pairs that follow each other; of ``local``, by CPU as well."""
    with tempfile.TemporaryDirectory() as made:
        works = _works(_photos(Path(made), photos), Path(made))
        for name, (work, items) in ((name, works[name]) for name in ([only] if only else works)):
            walls, cpus = [], []
            for turn in range(rounds + 1):  # the first one starts processes and loads models
                found, wall, cpu = {}, {}, {}
                for where in ("", address) if turn % 2 else (address, ""):
                    start, used = time.perf_counter(), _cpu()
                    found[where] = _digest(work, items, where)
                    wall[where], cpu[where] = time.perf_counter() - start, _cpu() - used
                if found[""] != found[address]:
                    raise SystemExit(f"{name}: the results differ")
                walls.append(wall[""] / wall[address])
                cpus.append(cpu[""] / cpu[address] if address == dask_cluster.LOCAL else float("nan"))
            speed, share = statistics.median(walls[1:]), statistics.median(cpus[1:])
            print(f"{name:10} {photos} photos by {address}: {speed:.2f} x the speed of processes; by CPU {share:.2f} x")


def _counted(item: Any, work: Callable[[Any], bytes], log: Path) -> bytes:
    with log.open("a") as file:
        file.write(".")
    return work(item)


@contextlib.contextmanager
def _killing(count: int, apart: float, killed: list[int]) -> Iterator[None]:
    """Kill one of Dask's workers at random every so many seconds, ``count`` times, when all have joined."""
    rng, client = random.Random(0), dask_cluster._local(WORKERS)

    def kill() -> None:
        found = [each for each in psutil.Process().children(recursive=True) if _is_worker(each)]
        if len(killed) < count and len(client.nthreads()) == len(found) == WORKERS:
            killed.append(rng.choice(found).pid)
            os.kill(killed[-1], signal.SIGKILL)

    with memory.meanwhile(apart, kill):
        yield


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


@app.command()
def kills(
    photos: Annotated[int, typer.Option(help="Photos")] = 600,
    times: Annotated[int, typer.Option(help="Workers to kill")] = 10,
    apart: Annotated[float, typer.Option(help="Seconds between them")] = 4.0,
) -> None:
    """Kill workers of ``local`` at random: are the results the same, and how many photos were done again."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        work, items = _works(_photos(folder, photos), folder)["keypoints"]
        expected, killed = _digest(work, items, ""), list[int]()
        log = folder / "log"
        with _killing(times, apart, killed):
            found = _digest(partial(_counted, work=work, log=log), items, "local")
        again = log.stat().st_size - photos
    verdict = "the same bytes" if found == expected else "OTHER BYTES"
    print(
        f"{len(killed)} workers killed: {verdict}; {again} of {photos} photos done again, {again / len(killed):.1f} a kill"
    )


def _run(script: str, *arguments: object) -> tuple[float, float]:
    """Seconds of CPU and peak memory, GB, of a stage in one process, what it started included."""
    command = [sys.executable, f"src/{script}.py", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "LANDMARKS_WORKERS": "1"}) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{script} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6


def _stages(folder: Path, ids: list[str]) -> Iterator[tuple[str, float, float]]:
    """Each stage on these photos: its name, seconds of CPU, GB."""
    rows = [{"id": photo, "landmark_id": int(photo[1:5]) + 1, "status": "ok"} for photo in ids]
    pd.DataFrame(rows).to_csv(folder / "photos.csv", index=False)
    listing, anonymous, split = folder / "photos.csv", folder / "anonymous", folder / "split.csv"
    upright = ("--detector", "sift", "--protocol", "upright")
    fisher = ("--features", "upright", "--encoding", "fisher", "--words", 64, "--pca", "none", "--classifier", "svm")
    out = (folder / "fisher.skops", folder / "fisher.parquet")
    for script, *arguments in (
        ("anonymize", folder, anonymous, listing, folder / "faces.json", folder / "quarantine.csv"),
        ("split", listing, folder / "faces.json", split, folder / "unknown.csv", folder / "split.json"),
        ("keypoints", listing, anonymous, folder / "upright.arrow", folder / "upright.json", *upright),
        ("baseline", folder, split, *out, *fisher),
    ):
        yield str(script), *_run(str(script), *arguments)


@app.command()
def photos(
    sizes: Annotated[list[int], typer.Option(help="Photos; repeat for more")] = [1000, 2000],  # noqa: B006 - typer makes a list anew
    per_landmark: Annotated[int, typer.Option(help="Photos of each landmark")] = 100,
) -> None:
    """Milliseconds of CPU a photo and peak memory of gate, split, keypoints and Fisher vectors, by number of photos."""
    for count in sizes:
        with tempfile.TemporaryDirectory() as made:
            ids = _photos(Path(made), count, per_landmark)
            for name, seconds, peak in _stages(Path(made), ids):
                print(
                    f"{count:6} photos  {name:10} {1000 * seconds / count:6.1f} ms a photo  {peak:.2f} GB", flush=True
                )


@app.command()
def simulate(
    images: Annotated[int, typer.Option(help="Photos: the clean set of Google Landmarks v2")] = 1_580_000,
    gate_ms: Annotated[float, typer.Option(help="CPU a photo: `photos` measures it")] = 150,
    keypoints_ms: Annotated[float, typer.Option(help="CPU a photo and detector")] = 40,
    storage: Annotated[float, typer.Option(help="What the shared folder delivers to all, MB/s")] = 500,
    photo_kb: Annotated[float, typer.Option(help="A photo")] = 200,
    result_kb: Annotated[float, typer.Option(help="The keypoints of a photo, through the scheduler")] = 150,
    network: Annotated[float, typer.Option(help="What the scheduler's machine takes, MB/s")] = 100,
    task_ms: Annotated[float, typer.Option(help="Of scheduler and client on a task: cluster.TASK")] = 5,
    requests: Annotated[float, typer.Option(help="Photos a second that one polite host gives")] = 6,
) -> None:
    """Hours for all photos by number of workers, and what bounds them: arithmetic on the options, not a measurement."""
    print(
        f"from one host by URL, however many workers: {images / requests / 3600:.0f} h; as 500 archives: by their network"
    )
    for workers in (1, 10, 100, 1000):
        for name, cpu_ms, kilobytes in (("gate", gate_ms, 2 * photo_kb), ("keypoints", keypoints_ms, photo_kb)):
            limits = {
                "CPU": workers * 1000 / cpu_ms,
                "shared folder": storage * 1000 / kilobytes,
                "scheduler": 1000
                / task_ms
                * min(max(1000, 2 * task_ms * workers) / cpu_ms, 256),  # batches of cluster.py
            }
            if name == "keypoints":
                limits["results through the scheduler"] = network * 1000 / result_kb
            wall = min(limits, key=lambda limit: limits[limit])
            print(f"{workers:5} workers  {name:10} {images / limits[wall] / 3600:8.1f} h, bound by: {wall}")


if __name__ == "__main__":
    app()
