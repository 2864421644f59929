"""`make verify`: does the committed experiment come out again, in a clean clone?"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import stages
import verify
import yaml
from support import ROOT, Clone

COMPUTE = """
import json, pathlib
pathlib.Path("metrics").mkdir(exist_ok=True)
pathlib.Path("metrics/results.json").write_text(json.dumps({"top1": 0.5, "by": [1, 2]}))
pathlib.Path("made.txt").write_text("made")
"""
STAGE = {
    "cmd": "python compute.py",
    "deps": ["compute.py"],
    "outs": ["made.txt"],
    "metrics": [{"metrics/results.json": {"cache": False}}],
}


@pytest.fixture
def committed(tmp_path: Path) -> Clone:
    """A repository, in a folder with blanks and an ñ, whose one stage ran and was committed."""
    folder = tmp_path / "mi añ o"
    shutil.copytree(ROOT / ".ci", folder / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "versions.yaml", folder)
    (folder / "compute.py").write_text(COMPUTE)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"compute": STAGE}}))
    (folder / ".gitignore").write_text("/made.txt\n__pycache__\n")
    made = Clone(folder)
    made.git("init", "-q", "-b", "main")
    made.dvc("init", "-q")
    made.dvc("repro", "-q")
    made.commit("ran")
    return made


def run(clone: Clone, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `.ci/verify.py` as `make verify` does."""
    command = f'PATH="{Path(sys.executable).parent}:$PATH" python .ci/verify.py "$@"'
    return subprocess.run(
        ["bash", "-c", command, "verify", *options], cwd=clone.folder, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_what_comes_out_again_is_said_with_processor_and_versions(committed: Clone) -> None:
    (committed.folder / "compute.py").write_text("raise SystemExit('a change that is not committed does not count')")
    done = run(committed)
    assert done.returncode == 0, done.stderr
    assert "0 of 2 outputs have another hash" in done.stdout
    assert "0 of 3 metrics differ" in done.stdout
    assert f"Python {sys.version.split()[0]}" in done.stdout
    assert "tensorflow 2." in done.stdout


@pytest.mark.slow
def test_what_differs_is_named_and_fails_unless_it_is_a_metric_within_the_tolerance(committed: Clone) -> None:
    results = committed.folder / "metrics" / "results.json"
    results.write_text(json.dumps({"top1": 0.52, "by": [1, 2], "gone": 1}))
    lock = (committed.folder / "dvc.lock").read_text()
    (committed.folder / "dvc.lock").write_text(lock.replace(verify.outputs(stages.stages(lock))["made.txt"], "0" * 32))
    committed.commit("another processor's")
    done = run(committed, "--tolerance", "0.03")
    assert done.returncode == 1
    assert "made.txt" in done.stdout
    assert "| top1 | 0.52 | 0.5 | 0.02 |" in done.stdout
    assert "| gone | 1 |  | inf |" in done.stdout
    results.write_text(json.dumps({"top1": 0.52, "by": [1, 2]}))
    committed.commit("the same numbers")
    assert run(committed, "--tolerance", "0.03").returncode == 0
    assert run(committed, "--tolerance", "0.01").returncode == 1
    assert run(committed).returncode == 1


@pytest.mark.slow
def test_a_stage_that_fails_in_a_clean_clone_ends_in_one_line(committed: Clone) -> None:
    (committed.folder / "compute.py").write_text("import sys; sys.exit('needs a file that is not in git')")
    committed.commit("broken")
    done = run(committed)
    assert done.returncode == 1
    assert "verify: dvc repro failed in a clean clone" in done.stderr


def test_numbers_of_any_json_are_named_by_the_keys_that_lead_to_them() -> None:
    assert dict(verify.numbers({"a": {"b": 1, "c": "text"}, "d": [0.5, None]})) == {"a.b": 1, "d.0": 0.5}
    assert verify.differences({"a": 1, "b": 2}, {"a": 1, "c": 2}) == {"b": float("inf"), "c": float("inf")}
