"""The anonymize stage resumes after a kill, and examines a photo again only if something changed."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from gate_runs import OUTPUTS, QUICK, save_portraits, stage
from support import ROOT, Script, fails_in_one_line, gate_settings, kill_when, recorded

from landmarks.common import files
from landmarks.common.result_cache import ResultCache, path_for
from landmarks.images import photo_store
from landmarks.images.photo_store import Member, PhotoStore
from landmarks.privacy import gate, redaction


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_portraits(tmp_path_factory.mktemp("portraits"))


def test_what_was_examined_is_not_examined_again_unless_something_changed(
    script: Script, portraits: Path, tmp_path: Path
) -> None:
    def examined_now(*knobs: object) -> set[str]:
        before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "anonymous").glob("*.jpg")}
        assert stage(script, tmp_path / "in", tmp_path, *QUICK, *knobs).returncode == 0
        after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "anonymous").glob("*.jpg")}
        return {name.removesuffix(".jpg") for name in after if after[name] != before.get(name)}

    (tmp_path / "in").mkdir()
    for name in ("upright0", "upright1"):
        shutil.copy(portraits / f"{name}.jpg", tmp_path / "in")
    assert examined_now() == {"upright0", "upright1"}
    first = json.loads((tmp_path / "faces.json").read_text())
    shutil.copy(portraits / "turned0.jpg", tmp_path / "in")
    assert examined_now() == {"turned0"}
    second = json.loads((tmp_path / "faces.json").read_text())
    assert {k: second["photos"][k] for k in first["photos"]} == first["photos"]
    shutil.copy(portraits / "turned1.jpg", tmp_path / "in" / "upright1.jpg")  # another original of that name
    assert examined_now() == {"upright1"}
    (tmp_path / "anonymous" / "upright0.jpg").write_bytes(b"tampered with")
    assert examined_now() == {"upright0"}
    assert examined_now("--cells", 4) == {"upright0", "upright1", "turned0"}
    (tmp_path / "in" / "upright0.jpg").unlink()
    assert examined_now("--cells", 4) == set()
    assert sorted(path.stem for path in (tmp_path / "anonymous").iterdir()) == ["turned0", "upright1"]


def test_a_killed_run_resumes(script: Script, photos: Path, tmp_path: Path) -> None:
    whole, again, knobs = tmp_path / "whole", tmp_path / "again", ("--sizes", 640, "--turned", 0)
    for folder in (tmp_path / "in", whole, again):
        folder.mkdir()
    for photo in sorted((photos / "images").glob("p1_*.jpg")):
        shutil.copy(photo, tmp_path / "in")
    assert stage(script, tmp_path / "in", whole, *knobs).returncode == 0
    shutil.copy(whole / "photos.csv", again)
    outputs = [again / "anonymous", again / "photos.csv", *(again / name for name in OUTPUTS)]
    cache = path_for(again / "faces.json")
    kill_when(lambda: recorded(cache) >= 4, "anonymize", tmp_path / "in", *outputs, *knobs)
    examined = recorded(cache)
    assert 4 <= examined < 12
    before = {path.name: path.stat().st_mtime_ns for path in (again / "anonymous").glob("*.jpg")}
    done = stage(script, tmp_path / "in", again, *knobs)
    assert f"{12 - examined} of 12 photos examined, {examined} were there already" in done.stdout
    after = {path.name: path.stat().st_mtime_ns for path in (again / "anonymous").glob("*.jpg")}
    assert len(before.items() & after.items()) == examined
    for path in (whole / "anonymous").iterdir():
        assert (again / "anonymous" / path.name).read_bytes() == path.read_bytes()
    assert (again / "faces.json").read_bytes() == (whole / "faces.json").read_bytes()
    assert not cache.exists()


def test_results_of_a_killed_run_under_other_settings_do_not_count(portraits: Path, tmp_path: Path) -> None:
    originals = {"upright0": portraits / "upright0.jpg"}
    (tmp_path / "out").mkdir()

    def examined(method: redaction.Method) -> tuple[str, bool]:
        settings = gate_settings(method=method, sizes=(320,), turned=0)
        with ResultCache(tmp_path / "cache.sqlite") as cache:  # it keeps the results of both, as after a kill
            identity = gate.identity(settings)
            ((_, result, now),) = gate.examine_all(originals, tmp_path / "out", cache, {}, settings, identity)
        assert isinstance(result, gate.PassedPhoto)
        return result.sha256, now

    solid, _ = examined("solid")
    blurred, _ = examined("blur")
    assert solid != blurred
    assert examined("solid") == (solid, True)
    assert files.sha256(tmp_path / "out" / "upright0.jpg") == solid
    assert examined("solid") == (solid, False)


def test_no_photo_in_a_shard_can_be_read_before_it_is_examined_under_other_settings(
    portraits: Path, tmp_path: Path
) -> None:
    originals = {name: portraits / f"{name}.jpg" for name in ("upright0", "upright1")}
    with ResultCache(tmp_path / "cache") as cache:

        def examined(cells: int) -> Iterator[object]:
            asked = gate_settings(sizes=(320,), turned=0, cells=cells)
            return gate.examine_all(originals, tmp_path, cache, {}, asked, gate.identity(asked))

        assert len(list(examined(8))) == 2
        photo_store.arrange(tmp_path, list(originals), 2)
        assert all(isinstance(PhotoStore(tmp_path)[photo], Member) for photo in originals)
        next(examined(4))  # what is done after this one is not known: a run that ends here
        assert not any(isinstance(PhotoStore(tmp_path)[photo], Member) for photo in originals)


def test_a_full_disk_is_one_line_not_a_quarantine(portraits: Path, tmp_path: Path) -> None:
    rows = [{"id": "upright0"}, {"id": "upright1"}]
    pd.DataFrame(rows).to_csv(tmp_path / "photos.csv", index=False)
    outputs = [tmp_path / "anonymous", tmp_path / "photos.csv", *(tmp_path / name for name in OUTPUTS)]
    done = subprocess.run(
        [sys.executable, "src/anonymize.py", str(portraits), *map(str, outputs)], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**os.environ, "LANDMARKS_WORKERS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)),
    )  # fmt: skip
    fails_in_one_line(done, "File too large", "what is examined is kept")
    assert not (tmp_path / "faces.json").exists()


class DeadlyPath(type(Path())):  # type: ignore[misc]  # the class of this system
    """A photo that takes more memory than there is: reading it ends the process."""

    def read_bytes(self) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""


def test_a_photo_that_ends_its_process_goes_to_quarantine_and_the_others_pass(
    portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDMARKS_WORKERS", "2")
    settings = gate_settings(sizes=(320,), turned=0)
    names = ("upright0", "huge", "upright1")
    originals = {name: portraits / f"{name}.jpg" for name in names} | {"huge": DeadlyPath(portraits / "upright0.jpg")}
    with ResultCache(tmp_path / "cache") as cache:
        made = list(gate.examine_all(originals, tmp_path, cache, {}, settings, gate.identity(settings)))
    assert [photo for photo, _, _ in made] == list(names)
    results = {photo: result for photo, result, _ in made}
    assert isinstance(results["huge"], gate.QuarantineError)
    assert str(results["huge"]).startswith(
        "cannot be examined: photo huge: the process that worked on it alone was killed"
    )
    assert {path.stem for path in tmp_path.glob("*.jpg")} == {"upright0", "upright1"}
    assert all(isinstance(results[name], gate.PassedPhoto) for name in ("upright0", "upright1"))
