"""TensorFlow starts without a word; what it says before it fails is not lost."""

import os

import pytest
from support import ROOT, Script


@pytest.mark.slow
def test_a_stage_that_loads_tensorflow_prints_its_own_lines_alone(process: Script) -> None:
    done = process("explain", "nowhere", "nowhere.csv", ROOT / "nowhere.json", "nowhere.npz")
    assert done.returncode == 1
    assert done.stderr == "explain: nowhere.csv: no such file; run the stage that makes it: dvc repro\n"


def test_what_was_said_before_an_error_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    from landmarks.deep import runtime

    with runtime.silent():
        os.write(2, b"on every start\n")
    os.write(2, b"restored\n")

    def fail() -> None:
        with runtime.silent():
            os.write(2, b"the reason\n")
            raise ImportError("no library")

    with pytest.raises(ImportError, match="no library"):
        fail()
    assert capfd.readouterr().err == "restored\nthe reason\n"
