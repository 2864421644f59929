"""Photos in TAR shards beside a folder of single files: what DVC and reading cost, on synthetic files of random bytes.

python bench/shards.py repro    a second `dvc repro` where nothing changed, 8,000 photos, in pairs that follow each other
python bench/shards.py read     reading photos by id, in random order, in pairs
python bench/shards.py store    the same from an object store, moto's server: pip install s3fs "moto[server]"
"""

import logging
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from unittest import mock

import typer

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

from landmarks.common.errors import InputError  # noqa: E402
from landmarks.images import object_store, photo_store  # noqa: E402
from landmarks.images.photo_store import PhotoStore  # noqa: E402

Photos = Annotated[int, typer.Option(help="Photos")]
Kilobytes = Annotated[int, typer.Option(help="Size of each")]
Shard = Annotated[int, typer.Option(help="Photos in a TAR")]
Rounds = Annotated[int, typer.Option(help="Pairs; medians are printed")]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _fill(folder: Path, photos: int, kilobytes: int, shard: int) -> list[str]:
    rng = random.Random(0)
    ids = [f"p{n:06}" for n in range(photos)]
    folder.mkdir(parents=True)
    for photo in ids:
        (folder / f"{photo}.jpg").write_bytes(rng.randbytes(kilobytes * 1000))
    if shard:
        photo_store.arrange(folder, ids, shard)
    return ids


def _pairs(sides: dict[str, Callable[[], object]], rounds: int, who: int) -> None:
    """Print the median seconds of each side: by the clock, and of CPU of this process or of its children (``who``)."""
    took: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for turn in range(rounds):
        for side in list(sides)[:: 1 if turn % 2 else -1]:
            clock, cpu = time.perf_counter(), resource.getrusage(who)
            sides[side]()
            done = resource.getrusage(who)
            spent = done.ru_utime - cpu.ru_utime + done.ru_stime - cpu.ru_stime
            took[side].append((time.perf_counter() - clock, spent))
    for side, seconds in took.items():
        clock, spent = (statistics.median(each) for each in zip(*seconds, strict=True))
        print(f"{side:14} {clock:7.2f} s by the clock, {spent:7.2f} s of CPU")


def _run(folder: Path, *command: str) -> str:
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **path}, check=True, capture_output=True, text=True
    ).stdout


def _experiment(folder: Path, photos: int, kilobytes: int, shard: int) -> None:
    """A clone in which DVC knows the results of this checkout, with other photos, as those of its stages."""
    _run(ROOT, "git", "clone", "-q", str(ROOT), str(folder))
    ignored = shutil.ignore_patterns("images", "anonymous", ".cache")
    for name in ("data", "models", "plots"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True, ignore=ignored)
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("  shard: 0 ", f"  shard: {shard} "))
    for name in ("images", "anonymous"):
        _fill(folder / "data" / name, photos, kilobytes, shard)
    _run(folder, "dvc", "commit", "--force", "-q")


def _repro(folder: Path) -> None:
    printed = _run(folder, "dvc", "repro")
    if "Data and pipelines are up to date" not in printed:
        raise SystemExit(f"{folder}: something ran\n{printed}")


@app.command()
def repro(photos: Photos = 8000, kilobytes: Kilobytes = 20, shard: Shard = 2000, rounds: Rounds = 5) -> None:
    """A second `dvc repro`: all outputs of this checkout have to be there (make repro)."""
    with tempfile.TemporaryDirectory() as made:
        sides = {"single files": Path(made, "single"), f"shards of {shard}": Path(made, "shards")}
        for (_, folder), size in zip(sides.items(), (0, shard), strict=True):
            _experiment(folder, photos, kilobytes, size)
            _repro(folder)
        _pairs({side: lambda at=folder: _repro(at) for side, folder in sides.items()}, rounds, resource.RUSAGE_CHILDREN)  # type: ignore[misc]


@app.command()
def read(photos: Photos = 8000, kilobytes: Kilobytes = 60, shard: Shard = 2000, rounds: Rounds = 9) -> None:
    """All photos once, in random order, opening of the folder included; what was read is in the system's cache."""
    with tempfile.TemporaryDirectory() as made:
        folders = {"single files": (Path(made, "single"), 0), f"shards of {shard}": (Path(made, "shards"), shard)}
        sides: dict[str, Callable[[], object]] = {}
        for side, (folder, size) in folders.items():
            ids = _fill(folder, photos, kilobytes, size)
            random.Random(1).shuffle(ids)
            sides[side] = lambda at=folder, order=ids: _read(at, order)  # type: ignore[misc]
        _pairs(sides, rounds, resource.RUSAGE_SELF)


def _read(folder: Path, ids: list[str]) -> None:
    store = PhotoStore(folder)
    for photo in ids:
        store[photo].read_bytes()


@app.command()
def store(photos: Photos = 500, kilobytes: Kilobytes = 60, shard: Shard = 100) -> None:
    """Upload shards to S3 and read each photo by its range, one after the other."""
    from moto.server import ThreadedMotoServer  # type: ignore[import-not-found]

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    secret = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    place = {object_store.STORE: "s3://landmarks/data", "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    with tempfile.TemporaryDirectory() as made, mock.patch.dict(os.environ, {**secret, **place}):
        folder = Path(made, "photos")
        ids = _fill(folder, photos, kilobytes, shard)
        here = PhotoStore(folder)
        contents = [here[photo].read_bytes() for photo in ids]
        start = time.perf_counter()
        count = object_store.upload(here.shards)
        print(
            f"{count} shards uploaded in {time.perf_counter() - start:.2f} s; again: {object_store.upload(here.shards)}"
        )
        for path in folder.glob("*.tar"):
            path.unlink()
        there, start = PhotoStore(folder), time.perf_counter()
        if [there[photo].read_bytes() for photo in ids] != contents:
            raise SystemExit("other bytes")
        print(f"{photos} photos read, the same bytes, {(time.perf_counter() - start) / photos * 1000:.1f} ms each")
        server.stop()
        start = time.perf_counter()
        try:
            there[ids[0]].read_bytes()
        except InputError as error:
            print(f"without the server, after {time.perf_counter() - start:.0f} s: {error}")


if __name__ == "__main__":
    app()
