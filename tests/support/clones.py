"""Git clones of the working tree with smaller parameters, in which DVC runs the whole pipeline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest

from support.scripts import ROOT

SMALL = (  # the real pipeline, smaller
    ("per_class: 60", "per_class: 12"), ("reserve: 30", "reserve: 12"), ("unknown: 60", "unknown: 6"), ("classes: 10", "classes: 3"), ("start: 1\n", "start: 2\n"),
    ("stop: 200", "stop: 8"), ("folds: 5", "folds: 2"), ("  n: 4 ", "  n: 6 "), ("epochs: 40", "epochs: 3"),
    ("photos: 60", "photos: 2"), ("others: 60", "others: 3"), ("photos: 10 ", "photos: 2 "), ("draws: 3", "draws: 2"),
    ("long_side: 400", "long_side: 200"), ("augmentations: 4", "augmentations: 1"), ("words: 64", "words: 8"), ("sample: 60000", "sample: 5000"),
)  # fmt: skip


class Clone:
    """A git clone, with DVC and git run in it as a user called test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, **environment: str) -> str:
        """Return what the command printed. Raises ``AssertionError``, with both outputs, if it fails."""
        who = {f"GIT_{role}_{what}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            # files: a worker process that outlives its stage would keep pipes open, and the test waiting
            done = subprocess.run(
                command,
                cwd=self.folder,
                env={**os.environ, **who, **path, **environment},
                stdout=stdout,
                stderr=stderr,
                check=False,
            )
            stdout.seek(0)
            stderr.seek(0)
            printed, errors = stdout.read(), stderr.read()
        assert done.returncode == 0, f"{command}\n{printed[-3000:]}\n{errors[-3000:]}"
        return printed

    def dvc(self, *arguments: str) -> str:
        return self.run("dvc", *arguments)

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def copy(self, folder: Path) -> Clone:
        """The same with data, cache and experiments, in another folder."""
        return Clone(shutil.copytree(self.folder, folder, symlinks=True))


def small_clone(folder: Path) -> Clone:
    """The working tree with smaller parameters, on a branch main, before its first run."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    params = (folder / "params.yaml").read_text()
    for before, after in SMALL:
        assert before in params
        params = params.replace(before, after)
    (folder / "params.yaml").write_text(params)
    (folder / "dvc.lock").unlink(missing_ok=True)
    (folder / "data" / "demo" / "dvc.yaml").unlink()  # the backbone as it is in git: its training takes 25 minutes
    made = Clone(folder)
    made.git("init", "-q", "-b", "main")
    made.commit("small")
    return made


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that ``make`` filled, once a session: the first worker of xdist makes it, the others wait for it.

    Where ``make`` fails, it is not tried again: all workers raise ``AssertionError``.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of the folders of all workers
    folder, done = base / name, base / f"{name}.done"
    with filelock.FileLock(base / f"{name}.lock"):
        if not folder.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    assert done.exists(), f"{name} failed in another test"
    return folder
