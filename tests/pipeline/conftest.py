"""The small pipeline, run once for all tests and all workers of a session, and copies of it to change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from support import Clone, once, small_clone


def printed_by(first_run: Clone) -> Path:
    """The file with what the first run printed on stdout."""
    return first_run.folder.with_suffix(".txt")


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A small clone that ran the pipeline once and committed it. All workers read it: a test that runs DVC takes ``clone``."""

    def run(folder: Path) -> None:
        made = small_clone(folder)
        printed_by(made).write_text(made.run(".ci/repro"))
        made.commit("first run")

    return Clone(once(tmp_path_factory, "first_run", run))


@pytest.fixture
def clone(first_run: Clone, tmp_path: Path) -> Clone:
    """A copy of the first run, data and cache included, of the test's own."""
    return first_run.copy(tmp_path / "clone")


class Origin(NamedTuple):
    """What others clone: the first run on ``main``, pushed to a remote, and an experiment on the branch ``change``."""

    clone: Clone
    remote: Path
    printed: dict[str, str]  # what DVC printed about the experiment, by command


@pytest.fixture(scope="session")
def origin(first_run: Clone, tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """The experiment is pca.n=4 and its data are not in the remote. All workers read it."""

    def run(folder: Path) -> None:
        made = first_run.copy(folder / "clone")
        made.dvc("remote", "add", "--local", "--default", "home", str(folder / "remote"))
        made.dvc("push", "--run-cache")
        commands = ("exp run -S pca.n=4", "metrics diff --md --precision 3", "params diff", "exp show --csv")
        printed = {command: made.dvc(*command.split()) for command in commands}
        (folder / "printed.json").write_text(json.dumps(printed))
        made.git("switch", "-q", "-c", "change")
        made.commit("4 components")
        made.git("switch", "-q", "main")
        made.dvc("checkout", "-q")

    folder = once(tmp_path_factory, "origin", run)
    printed = json.loads((folder / "printed.json").read_text())
    return Origin(clone=Clone(folder / "clone"), remote=folder / "remote", printed=printed)


@pytest.fixture
def home(origin: Origin, tmp_path: Path) -> Path:
    """A home folder in which ``data/`` is a copy of the remote: what a job pushes there is its own."""
    shutil.copytree(origin.remote, tmp_path / "home" / "data")
    return tmp_path / "home"


@pytest.fixture
def second(origin: Origin, tmp_path: Path) -> Clone:
    """What `git clone` makes of the origin: no data."""
    origin.clone.git("clone", "-q", str(origin.clone.folder), str(tmp_path / "second"))
    return Clone(tmp_path / "second")
