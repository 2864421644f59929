"""Stage scripts as commands: in this process, or in one of their own."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from unittest import mock

import typer

ROOT = Path(__file__).parents[2]
Done = subprocess.CompletedProcess[str]
Script = Callable[..., Done]
QUIET = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)  # Python shows these to nobody
SECONDS = 300  # a script in a process of its own may take


def run_process(name: str, *arguments: object, **environment: str) -> Done:
    """Run ``src/<name>.py`` in a process of its own, from the repository's root, as DVC does."""
    return subprocess.run(
        [sys.executable, f"src/{name}.py", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=SECONDS,
    )


def kill_when(reached: Callable[[], bool], name: str, *arguments: object) -> None:
    """Run ``src/<name>.py`` with one worker, and kill it with all that it started as soon as ``reached()``."""
    command, alone = [sys.executable, f"src/{name}.py", *map(str, arguments)], {**os.environ, "LANDMARKS_WORKERS": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=alone, stderr=subprocess.DEVNULL, start_new_session=True) as run:
        while not reached():
            assert run.poll() is None
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGKILL)


def recorded(cache: Path) -> int:
    """The number of results in a cache that another process is writing."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{cache}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT count(*) FROM results").fetchone()[0])
    except sqlite3.OperationalError:  # not there yet
        return 0


def run_here(name: str, *arguments: object, **environment: str) -> Done:
    """Run ``src/<name>.py`` in this process: the same exit code and outputs, without a second for its imports.

    Photos are worked on by one process, unless LANDMARKS_WORKERS is given: xdist keeps the cores busy. What the script leaves
    behind in this process is undone: environment, working directory, warning filters, caches of files and of models.
    """
    given = [str(argument) for argument in arguments]
    with _captured() as (stdout, stderr), _state({"LANDMARKS_WORKERS": "1", **environment}):
        code = _exit_code(importlib.import_module(name).main, given, f"{name}.py")
    outputs = [out.read().decode(errors="surrogateescape") for out in (stdout, stderr)]
    for out in (stdout, stderr):
        out.close()
    return subprocess.CompletedProcess([name, *given], code, *outputs)


def _exit_code(main: Callable[..., None], arguments: list[str], name: str) -> int:
    """The exit code of a script's command line, and its traceback on stderr, as the interpreter ends."""
    import stage

    try:
        typer.main.get_command(stage.application(main)).main(arguments, prog_name=name)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def _state(environment: dict[str, str]) -> Iterator[None]:
    """A process as a script finds it, and after it as it was."""
    _forget()
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.object(tempfile, "tempdir", None),  # else TMPDIR is read once a process
        contextlib.chdir(ROOT),
        warnings.catch_warnings(),
    ):
        warnings.resetwarnings()
        warnings.showwarning = _print_warning  # not into pytest's list of them
        for category in QUIET:
            warnings.simplefilter("ignore", category)
        yield
    _forget()


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


def _forget() -> None:
    """Drop what a script kept for as long as its process lives."""
    from joblib.externals.loky import reusable_executor

    from landmarks.classical import features_file

    features_file.mapped.cache_clear()  # by path, and the next test may write another file there
    if reusable_executor._executor is not None:  # its processes have the environment and the cached files of that call
        reusable_executor._executor.shutdown(wait=True)
    if keras := sys.modules.get("tf_keras"):
        keras.backend.clear_session()  # the names of layers count from 1 again


@contextlib.contextmanager
def _captured() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """What is written to stdout and to stderr meanwhile, by C libraries too."""
    files = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - they are read after this
    before, kept = (sys.stdout, sys.stderr), (os.dup(1), os.dup(2))
    streams = [os.fdopen(os.dup(file.fileno()), "w", encoding="utf-8") for file in files]
    streams[1].reconfigure(errors="backslashreplace", line_buffering=True)
    for stream in before:
        stream.flush()
    try:
        for number, file in enumerate(files, 1):
            os.dup2(file.fileno(), number)
        sys.stdout, sys.stderr = streams
        yield files
    finally:
        for stream in streams:
            stream.close()
        sys.stdout, sys.stderr = before
        for number, descriptor in enumerate(kept, 1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        for file in files:
            file.seek(0)


def fails_in_one_line(done: Done, *parts: str) -> None:
    """Assert that a script ended as a person can read it: exit code 1, one line, no traceback, naming ``parts``."""
    assert done.returncode == 1, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert part in lines[0]
