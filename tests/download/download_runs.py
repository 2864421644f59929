"""How the tests run the download stage: as a command, in this process, or in one that is interrupted or killed."""

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
from requests.adapters import BaseAdapter
from support import ROOT, Done, Script, fetch_settings

import download
import stage
from landmarks.common.result_cache import ResultCache
from landmarks.demo import world
from landmarks.download import collection

Rows = list[tuple[str, str, Any, int]]  # id, url, landmark_id, reserve


def sample(folder: Path, rows: Rows) -> Path:
    pd.DataFrame(rows, columns=["id", "url", "landmark_id", "reserve"]).to_csv(folder / "sample.csv", index=False)
    return folder / "sample.csv"


def outputs(folder: Path) -> list[Path]:
    return [folder / name for name in ("images", "download.csv", "photos.csv", "counts.json")]


def fetch(script: Script, folder: Path, rows: Rows, *knobs: object, **environment: str) -> Done:
    return script("download", sample(folder, rows), *outputs(folder), "--loopback", *knobs, **environment)


def collect(
    folder: Path, rows: Rows, connections: int = 16, transports: dict[str, BaseAdapter] | None = None, **knobs: Any
) -> dict[str, str]:
    """Fetch in this process, from loopback and the demo's addresses. Return the status of each photo."""
    settings = fetch_settings(**{"loopback": True, **knobs})
    table = pd.read_csv(sample(folder, rows), dtype=str)
    threads = mock.patch.dict(os.environ, LANDMARKS_CONNECTIONS=str(connections))
    with threads, ResultCache(folder / "cache.sqlite") as cache:
        wanted = collection.Collection(sample=table, folder=folder / "images", settings=settings, cache=cache)
        wanted.collect({"demo": world.WorldAdapter(), **(transports or {})})
    return {answer.id: answer.status for answer in wanted.result()}


def command(folder: Path, *knobs: str) -> list[str]:
    return ["src/download.py", str(folder / "sample.csv"), *map(str, outputs(folder)), "--loopback", *knobs]


def start(folder: Path, *knobs: str, **environment: str) -> subprocess.Popen[str]:
    """Start the stage in a process that Ctrl-C interrupts."""
    return subprocess.Popen(
        [sys.executable, *command(folder, *knobs)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
        # a process that a shell started in the background ignores Ctrl-C, and so do its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def start_forked(folder: Path, *knobs: str) -> multiprocessing.process.BaseProcess:
    """Start the stage in a process that has imported it already, so that it can be killed many times a minute."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
        forkserver.ensure_running()
    process = context.Process(target=_run, args=(command(folder, *knobs),), daemon=True)
    process.start()
    return process


def _run(arguments: list[str]) -> None:
    sys.argv = arguments
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends
    stage.run(download.main)


def answers(folder: Path) -> dict[str, dict[str, str]]:
    """The table, by id."""
    with (folder / "download.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def column(folder: Path, name: str) -> dict[str, str]:
    return {photo: row[name] for photo, row in answers(folder).items()}


def photos(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "images").iterdir())
