"""Several machines train one network."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import ROOT, Done, fails_in_one_line

from deep.conftest import MADE, PLAIN, Train, outputs


def together(photos: Path, split: Path, folder: Path, *knobs: object) -> list[Done]:
    """Two processes on loopback that train one network."""
    with contextlib.ExitStack() as open_:
        ports = []
        for _ in range(2):
            listener = open_.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(f"127.0.0.1:{listener.getsockname()[1]}")
    running = []
    for index in range(2):
        (folder / str(index)).mkdir()
        team = {"cluster": {"worker": ports}, "task": {"type": "worker", "index": index}}
        given = [photos / "images", split, *outputs(folder / str(index)), *PLAIN, *knobs]
        command = [sys.executable, "src/cnn.py", *map(str, given)]
        env = {**os.environ, "TF_CONFIG": json.dumps(team), "LANDMARKS_WORKERS": "1"}
        running.append(subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ))  # fmt: skip
    said = [process.communicate(timeout=240)[1] for process in running]
    return [subprocess.CompletedProcess(p.args, p.returncode, "", text) for p, text in zip(running, said, strict=True)]


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("method", ["two-phase", "frozen"])
def test_two_machines_train_one_network_together(
    train: Train, photos: Path, split: Path, tmp_path: Path, method: str
) -> None:
    knobs = ("--recipe", method, "--epochs", 6, "--tuning_epochs", 1, "--dropout", 0)
    for done in together(photos, split, tmp_path, *knobs):
        assert done.returncode == 0, done.stderr
    for name in MADE:
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes(), name
    train(tmp_path / "alone", *knobs)
    both, alone = (pd.read_csv(tmp_path / name / "history.csv") for name in ("0", "alone"))
    for column in ("loss", "validation_loss"):
        np.testing.assert_allclose(both[column], alone[column], rtol=0.02, atol=0.002)


@pytest.mark.slow
@pytest.mark.parametrize("team", ["{", '{"cluster": {"worker": ["x:1"]}, "task": {"type": "worker", "index": 3}}'])
def test_a_team_that_is_none_is_an_error_that_names_the_variable(cnn: Train, tmp_path: Path, team: str) -> None:
    fails_in_one_line(cnn(tmp_path, TF_CONFIG=team), "cnn: ", "TF_CONFIG")
