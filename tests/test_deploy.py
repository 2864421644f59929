"""What runs elsewhere says the same: Azure's scoring script, the container's files."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from conftest import ROOT

if TYPE_CHECKING:
    from landmarks.predictor import Predictor


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


def test_the_container_is_given_what_it_copies_and_runs_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text()
    given = (ROOT / ".dockerignore").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for name in line.split():
            assert f"!{name}\n" in given
    assert re.search(r"^USER landmarks$", text, re.MULTILINE)
    assert text.index("USER") < text.index("CMD")
    for path in ("src/serve.py", "dvc.lock", "requirements.lock", "data/demo/backbone"):
        assert (ROOT / path).exists()
