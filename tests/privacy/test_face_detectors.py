"""Face detectors find faces in every turn of a photo, and a missing or altered model is an error."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from gate_runs import portrait, save_portraits, stage
from support import Host, Script, fails_in_one_line

from landmarks.common.errors import InputError
from landmarks.demo.renderer import PORTRAITS
from landmarks.privacy import face_detectors, redaction


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


@pytest.mark.parametrize("name", ["yunet", "ssd", "strict"])
def test_a_model_that_is_not_there_ends_in_one_line_that_says_where_to_get_it(
    script: Script, portraits: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "models").mkdir()
    knobs = ("--detector", name, "--models", tmp_path / "models")
    done = stage(script, portraits, tmp_path, *knobs)
    fails_in_one_line(done, "the face detector is missing", "https://github.com/opencv/")
    model = "opencv_face_detector_uint8.pb" if name == "ssd" else "face_detection_yunet_2023mar.onnx"
    (tmp_path / "models" / model).write_bytes(b"a web page that says: not found")
    fails_in_one_line(stage(script, portraits, tmp_path, *knobs), model, "not the model it should be")
    assert not (tmp_path / "anonymous").exists() or not list((tmp_path / "anonymous").iterdir())


def test_a_model_is_fetched_once_checked_and_kept(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.body = b"the model"
    model = face_detectors.Model("m.onnx", f"{host.url}/body", hashlib.sha256(host.body).hexdigest())
    monkeypatch.setenv("LANDMARKS_MODELS", str(tmp_path / "cache"))
    for _ in range(2):
        assert face_detectors.path(model).read_bytes() == host.body
    assert host.asked == {"/body": 1}
    with pytest.raises(InputError, match="cannot be fetched"):
        face_detectors.path(dataclasses.replace(model, name="n.onnx", url="http://127.0.0.1:9/m.onnx"))


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("name", ["centerface", "haar"])
def test_a_face_is_found_in_all_four_turns(name: face_detectors.Name, turns: int) -> None:
    upright = np.asarray(portrait(*PORTRAITS[0][:2]))[..., ::-1].copy()
    height, width = upright.shape[:2]
    best = max(face_detectors.detect(upright, 0.5, name), key=lambda face: face.score)
    found = face_detectors.detect(np.ascontiguousarray(np.rot90(upright, turns)), 0.5, name)
    back = [redaction.turn_back(face, turns, width, height) for face in found]
    assert min(abs(face.x - best.x) + abs(face.y - best.y) for face in back) < best.w / 3
