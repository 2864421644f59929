"""Lineage: a model, a threshold and training photos are used only as dvc.lock records them."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from support import ROOT, Clone, Script

from landmarks.common.errors import InputError
from landmarks.demo import renderer
from landmarks.serving import dvc_lineage

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor


@pytest.fixture
def folder(untrained: Path, tmp_path: Path) -> Path:
    """A copy of the folder of the untrained model, with its dvc.lock."""
    return Path(shutil.copytree(untrained.parent, tmp_path / "models"))


def test_the_record_of_a_model_has_its_files_threshold_and_parameters(answering: "Predictor") -> None:
    record = answering.record
    assert set(record.md5) == {"plain.json", "plain.weights.h5"}
    assert (record.checked, record.threshold, record.temperature, record.commit) == (True, 0.5, 1.5, None)
    assert record.parameters["module"] == ("data/demo/backbone",)
    commit = dvc_lineage.commit(ROOT)
    assert commit is None or len(commit.removesuffix("-dirty")) == 40


@pytest.mark.parametrize("name", ["plain.json", "plain.weights.h5", "threshold.json", "landmarks.csv"])
def test_a_model_that_differs_from_the_recorded_one_is_an_error(name: str, folder: Path) -> None:
    from landmarks.serving import predictor

    (folder / name).write_bytes((folder / name).read_bytes() + b"\n")
    with pytest.raises(InputError, match=rf"{name}: its MD5 is .*, .*dvc.lock records .*; run: dvc checkout"):
        predictor.load(folder / "plain.json", folder / "dvc.lock")


def test_a_model_without_record_needs_an_option(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trained_model

    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    del lock["stages"]["cnn@plain"]
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    monkeypatch.setattr(trained_model, "LOCK", folder / "dvc.lock")
    with pytest.raises(InputError, match=r"plain.json: .*records no such output.*--unchecked"):
        trained_model.load(folder / "plain.json")
    unchecked = trained_model.load(folder / "plain.json", unchecked=True)
    assert (unchecked.record.checked, unchecked.record.threshold) == (False, None)
    assert unchecked.to_prediction(np.array([0.4, 0.3, 0.3], np.float32), 1).known


def test_a_threshold_that_was_chosen_for_another_model_is_ignored(folder: Path) -> None:
    from landmarks.serving import predictor

    threshold, model = folder / "threshold.json", folder / "plain.json"
    assert predictor._read_threshold(threshold, model, dvc_lineage.read(folder / "dvc.lock")) == 0.5
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    lock["stages"]["reject"]["deps"] = [{"path": "plain.json", "md5": "0" * 32}]
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert predictor._read_threshold(threshold, model, dvc_lineage.read(folder / "dvc.lock")) is None


def test_a_lock_that_cannot_be_read_and_a_file_outside_its_folder_are_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(dvc_lineage.LineageError, match=r"no such file; run: dvc repro"):
        dvc_lineage.read(tmp_path / "dvc.lock")
    (tmp_path / "dvc.lock").write_text("stages: 3")
    with pytest.raises(dvc_lineage.LineageError, match=r"not in DVC's format; restore it: git checkout"):
        dvc_lineage.read(tmp_path / "dvc.lock")
    with pytest.raises(dvc_lineage.LineageError, match=r"lies outside the folder of"):
        dvc_lineage.read(folder / "dvc.lock").check([tmp_path / "dvc.lock"])


def test_a_model_that_dvc_links_into_a_shared_cache_is_the_recorded_one(
    script: Script, untrained: Path, photo: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the repository is reached through a linked folder."""
    import trained_model
    from landmarks.serving import predictor

    repository = Clone(Path(shutil.copytree(untrained.parent, tmp_path / "real" / "año 1")))
    (repository.folder / "dvc.lock").unlink()
    for name in ("plain.json", "plain.weights.h5", "threshold.json", "landmarks.csv"):
        (repository.folder / name).rename(repository.folder / f"made.{name}")
    outs = {"cnn": ["plain.json", "plain.weights.h5"], "reject": ["threshold.json"], "places": ["landmarks.csv"]}
    stages = {
        stage: {"cmd": " && ".join(f"cp made.{name} {name}" for name in names), "outs": names}
        for stage, names in outs.items()
    }
    stages["reject"]["deps"] = ["plain.json"]
    (repository.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    repository.git("init", "-q")
    repository.dvc("init", "-q")
    repository.dvc("config", "--local", "cache.type", "symlink")
    repository.dvc("config", "--local", "cache.dir", str(tmp_path / "shared cache"))
    repository.dvc("repro", "-q")
    repository.dvc("checkout", "--relink", "-q")
    repository.commit("linked")
    linked = tmp_path / "linked"
    linked.symlink_to(repository.folder)
    assert (linked / "plain.json").is_symlink()
    for model, lock in (
        (repository.folder / "plain.json", repository.folder / "dvc.lock"),
        (linked / "plain.json", repository.folder / "dvc.lock"),
        (repository.folder / "plain.json", linked / "dvc.lock"),
    ):
        record = predictor.load(model, lock).record
        assert (record.checked, record.threshold) == (True, 0.5)
        assert record.commit == repository.git("rev-parse", "HEAD").strip()
    monkeypatch.setattr(trained_model, "LOCK", linked / "dvc.lock")
    (tmp_path / "a.jpg").write_bytes(photo)
    done = script("predict", tmp_path / "a.jpg", "--model", linked / "plain.json", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"]["checked"]


def test_similar_photos_come_only_from_the_folder_that_dvc_recorded(
    answering: "Predictor", photos: Path, split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import serve

    images, parts, lock = tmp_path / "anonymous", tmp_path / "split.csv", tmp_path / "dvc.lock"
    shutil.copytree(photos / "images", images)
    shutil.copy(split, parts)
    outs = [{"path": path.name, "md5": dvc_lineage.md5(path)} for path in (images, parts)]
    lock.write_text(json.dumps({"stages": {"anonymize": {"outs": outs}}}))
    build = partial(serve._build_index, answering, images, parts, tmp_path / "attribution.csv", ending=lambda: False)
    index = build(lock=lock)
    assert index is not None
    (images / f"{index.ids[0]}.jpg").write_bytes(renderer.photo(8, 1, 0))  # one that was not anonymized
    assert build(lock=lock) is None
    assert f"no similar photos are shown: {images}: its MD5 is" in capsys.readouterr().err
    assert build(lock=None) is not None
