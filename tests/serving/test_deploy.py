"""Deployments: the scoring script for Azure, the Dockerfile."""

import base64
import importlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support import ROOT

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor


@pytest.fixture(scope="module")
def score(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The scoring script, in a copy of the repository whose model is the one of the tests."""
    folder = tmp_path_factory.mktemp("azure")
    shutil.copytree(ROOT / "src", folder / "src")
    shutil.copytree(ROOT / "data/demo/backbone", folder / "data/demo/backbone")
    for file in untrained.parent.glob("*.*"):
        if file.is_file():
            shutil.copy(file, folder)
    (folder / "deploy/azure").mkdir(parents=True)
    shutil.copy(ROOT / "deploy/azure/score.py", folder / "deploy/azure/score.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANDMARKS_MODEL", "plain.json")
        patch.chdir(folder)
        patch.syspath_prepend(folder / "deploy/azure")  # at the end, what the script adds to sys.path is removed, too
        patch.delitem(sys.modules, "score", raising=False)
        module = importlib.import_module("score")
        module.init()
        yield module


def test_azures_script_returns_what_the_predictor_returns(score: Any, answering: "Predictor", photo: bytes) -> None:
    body = json.dumps({"instances": [{"b64": base64.b64encode(photo).decode()}]})
    (wanted,) = answering.predict([answering.preprocess(photo)], 3)
    (prediction,) = score.run(body)["predictions"]
    assert (prediction["label"], prediction["known"]) == (wanted.label, wanted.known)
    assert prediction["confidence"] == pytest.approx(wanted.confidence, abs=1e-5)
    broken = json.dumps({"instances": [{"b64": base64.encodebytes(photo).decode()}]})
    assert score.run(broken) == score.run(body)


def test_azures_script_returns_the_reason_of_an_error(score: Any) -> None:
    for body in ("", "[]", "{}", '{"instances": [{"b64": "*"}]}', '{"instances": [{"b64": 7}]}', '{"instances": 3}'):
        assert "is expected" in score.run(body)["error"]
    assert score.run('{"instances": [{"b64": "aGVsbG8="}]}') == {"error": "instances[0]: not a photo"}


def test_azures_environment_has_the_versions_of_the_lock() -> None:
    lock = (ROOT / "requirements-serve.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\n]+)", lock, re.MULTILINE))
    environment = yaml.safe_load((ROOT / "deploy/azure/environment.yaml").read_text())
    server, *pins = environment["dependencies"][-1]["pip"]
    assert server == "azureml-inference-server-http"
    for name, version in (pin.split("==") for pin in pins):
        assert locked[name] == version, name


DOCKERFILE = (ROOT / "Dockerfile").read_text()
COPIED = re.findall(r"^COPY (?!--from)(.+) (\S+)$", DOCKERFILE, re.MULTILINE)


def test_the_dockerfile_copies_files_that_dockerignore_allows_and_sets_an_unprivileged_user() -> None:
    allowed = (ROOT / ".dockerignore").read_text()
    for names, _ in COPIED:
        for name in names.split():
            assert f"!{name}\n" in allowed
    assert re.search(r"^USER [1-9]\d+$", DOCKERFILE, re.MULTILINE)  # a number: Kubernetes can check that it is not root
    assert DOCKERFILE.index("USER") < DOCKERFILE.index("CMD")
    for path in ("src/serve.py", "dvc.lock", "requirements-serve.lock", "data/demo/backbone"):
        assert (ROOT / path).exists()


def test_the_dockerfiles_pass_their_linter(tmp_path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    files = ROOT / "Dockerfile", ROOT / "deploy/cluster/Dockerfile"
    done = subprocess.run([hadolint, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (tmp_path / "Dockerfile").write_text(DOCKERFILE + "RUN cd /\n")
    assert subprocess.run([hadolint, tmp_path / "Dockerfile"], stdout=subprocess.DEVNULL, check=False).returncode == 1


def test_the_clusters_workers_run_as_one_thread_in_the_checkout_with_both_locks() -> None:
    services = yaml.safe_load((ROOT / "deploy/cluster/compose.yaml").read_text())["services"]
    dockerfile = (ROOT / services["scheduler"]["build"]["dockerfile"]).read_text()
    assert "--nthreads 1 " in services["worker"]["command"]
    assert services["worker"]["volumes"] == ["../..:/landmarks"]
    assert "WORKDIR /landmarks" in dockerfile
    for lock in ("requirements.lock", "requirements-cluster.lock"):
        assert f"--requirement {lock}" in dockerfile
        assert f"!{lock}\n" in (ROOT / ".dockerignore").read_text()


@pytest.mark.slow
def test_the_containers_command_runs_with_the_copied_files(untrained: Path, tmp_path: Path) -> None:
    """Without Docker: the files that it copies in an empty folder, its command and health check on another port."""
    for names, destination in COPIED:
        for name in map(Path, names.split()):
            source = untrained.with_name(name.name) if name.parts[0] == "models" else ROOT / name
            target = tmp_path / destination.lstrip("/")
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                target.mkdir(exist_ok=True)
                shutil.copy(source, target)
    lock = untrained.with_name("dvc.lock").read_text()
    (tmp_path / "dvc.lock").write_text(re.sub(r"path: (landmarks|plain|threshold)", r"path: models/\1", lock))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = str(bound.getsockname()[1])
    lines = re.findall(r'CMD (\["/venv/bin/python".*\])', DOCKERFILE)
    probe, command = ([sys.executable, *json.loads(line)[1:]] for line in lines)
    probe[-1] = probe[-1].replace("8080", port)
    environment = {**os.environ, "LANDMARKS_API_KEY": "k"}
    server = subprocess.Popen([*command, "--port", port], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    try:
        assert server.stderr
        assert any(b"Uvicorn running" in line for line in server.stderr)
        assert subprocess.run(probe, check=False).returncode == 0
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 1


@pytest.mark.nightly
def test_the_images_packages_are_small_and_run_the_server(tmp_path: Path) -> None:
    """The image's own commands, in a folder instead of the file system of a container."""
    (command,) = re.findall(r"^RUN (sed (?:.*\\\n)*.*)", DOCKERFILE, re.MULTILINE)
    command = command.replace("/venv", f"{tmp_path}/venv").replace("python -m", f"{sys.executable} -m")
    version = "python{}.{}".format(*sys.version_info)
    shutil.copy(ROOT / "requirements-serve.lock", tmp_path)
    subprocess.run(command.replace("python3.11", version), shell=True, cwd=tmp_path, check=True)  # noqa: S602  # our own
    packages = tmp_path / "venv" / "lib" / version / "site-packages"
    size = sum(path.lstat().st_size for path in packages.rglob("*"))
    print(f"{size / 1e9:.3f} GB of packages")
    assert size < 1.6e9
    python = tmp_path / "venv/bin/python"
    subprocess.run([python, ROOT / "src/serve.py", "--help"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    imports = "from landmarks.serving import app, predictor, photo_index, protocol"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([python, "-c", imports], cwd=tmp_path, check=True, env=environment)


@pytest.mark.nightly
def test_azures_environment_resolves_on_its_python() -> None:
    """Its versions exist for that Python, and none contradicts another."""
    environment = yaml.safe_load((ROOT / "deploy/azure/environment.yaml").read_text())
    python = environment["dependencies"][0].removeprefix("python=")
    options = ["--dry-run", "--quiet", "--ignore-installed", "--target", "unused", "--only-binary", ":all:"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        *options,
        "--python-version",
        python,
        *environment["dependencies"][-1]["pip"],
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
