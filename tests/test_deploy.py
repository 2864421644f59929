"""What runs elsewhere says the same: Azure's scoring script, the container's files."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from conftest import ROOT

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor


@pytest.fixture
def score(untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scoring script in a repository whose model is the one of the tests."""
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copytree(ROOT / "data/demo/backbone", tmp_path / "data/demo/backbone")
    for file in untrained.parent.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "deploy/azure").mkdir(parents=True)
    shutil.copy(ROOT / "deploy/azure/score.py", tmp_path / "deploy/azure/score.py")
    monkeypatch.setenv("LANDMARKS_MODEL", "plain.json")
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("score", tmp_path / "deploy/azure/score.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.init()
    return module


def test_azures_script_answers_as_the_predictor_does(score: Any, answering: Predictor, photo: bytes) -> None:
    body = json.dumps({"instances": [{"b64": base64.b64encode(photo).decode()}]})
    (wanted,) = answering.predict([answering.square(photo)], 3)
    (said,) = score.run(body)["predictions"]
    assert (said["label"], said["known"]) == (wanted.label, wanted.known)
    assert said["confidence"] == pytest.approx(wanted.confidence, abs=1e-5)


def test_azures_script_says_what_is_wrong(score: Any) -> None:
    for body in ("", "[]", "{}", '{"instances": [{"b64": "*"}]}', '{"instances": [{"b64": 7}]}', '{"instances": 3}'):
        assert "is expected" in score.run(body)["error"]
    assert score.run('{"instances": [{"b64": "aGVsbG8="}]}') == {"error": "instances[0]: not a photo"}


def test_azures_environment_is_pinned_as_everything_else_is() -> None:
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\n]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    environment = yaml.safe_load((ROOT / "deploy/azure/environment.yaml").read_text())
    server, *pins = environment["dependencies"][-1]["pip"]
    assert server == "azureml-inference-server-http"
    for name, version in (pin.split("==") for pin in pins):
        assert locked[name] == version, name


DOCKERFILE = (ROOT / "Dockerfile").read_text()
COPIED = re.findall(r"^COPY (?!--from)(.+) (\S+)$", DOCKERFILE, re.MULTILINE)


def test_the_container_is_given_what_it_copies_and_runs_as_nobody_special() -> None:
    given = (ROOT / ".dockerignore").read_text()
    for names, _ in COPIED:
        for name in names.split():
            assert f"!{name}\n" in given
    assert re.search(r"^USER [1-9]\d+$", DOCKERFILE, re.MULTILINE)  # a number: others see at once that it is not root
    assert DOCKERFILE.index("USER") < DOCKERFILE.index("CMD")
    for path in ("src/serve.py", "dvc.lock", "requirements.lock", "data/demo/backbone"):
        assert (ROOT / path).exists()


def test_the_dockerfile_passes_its_linter(tmp_path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (tmp_path / "Dockerfile").write_text(DOCKERFILE + "RUN cd /\n")
    assert subprocess.run([hadolint, tmp_path / "Dockerfile"], stdout=subprocess.DEVNULL, check=False).returncode == 1


@pytest.mark.slow
def test_the_container_s_command_serves_from_the_files_that_are_copied_and_is_found_healthy(
    untrained: Path, tmp_path: Path
) -> None:
    """Without Docker: the same files in an empty folder, its command, its health check, on another port."""
    for names, place in COPIED:
        for name in map(Path, names.split()):
            given = untrained.with_name(name.name) if name.parts[0] == "models" else ROOT / name
            into = tmp_path / place.lstrip("/")
            if given.is_dir():
                shutil.copytree(given, into)
            else:
                into.mkdir(exist_ok=True)
                shutil.copy(given, into)
    lock = untrained.with_name("dvc.lock").read_text()
    (tmp_path / "dvc.lock").write_text(re.sub(r"path: (plain|threshold)", r"path: models/\1", lock))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    probe, command = (
        [sys.executable, *json.loads(line)[1:]] for line in re.findall(r'CMD (\["/venv/bin/python".*\])', DOCKERFILE)
    )
    probe[-1] = probe[-1].replace("8080", port)
    server = subprocess.Popen(
        [*command, "--port", port], cwd=tmp_path, env={**os.environ, "LANDMARKS_API_KEY": "k"}, stderr=subprocess.PIPE
    )
    try:
        assert server.stderr
        assert any(b"Uvicorn running" in line for line in server.stderr)
        assert subprocess.run(probe, check=False).returncode == 0
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 1
