"""Models on disk: the same bytes every time, loaded without executing anything."""

import io
import pickle
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.naive_bayes import GaussianNB
from support import ROOT, pipeline

from classical.conftest import KAZE
from landmarks.classical import classifiers, features_file, saved_models
from landmarks.classical.config import Kind
from landmarks.common.errors import InputError


def save(described: Path, kind: Kind, path: Path) -> None:
    read = features_file.read(described)
    saved_models.save(path, classifiers.fit(pipeline("flat", kind), read.values, read.landmarks), KAZE)


SAVE = """
import sys
from pathlib import Path
sys.path[:0] = ["src", "tests"]
from support import pipeline
from landmarks.classical import classifiers, features_file, saved_models
read = features_file.read(Path(sys.argv[1]))
for kind in ("bayes", "tree", "svm", "logistic", "neighbours"):
    for encoding in ("flat", "words", "vlad", "fisher"):
        fitted = classifiers.fit(pipeline(encoding, kind, n=3), read.values, read.landmarks)
        saved_models.save(Path(sys.argv[2]) / f"{encoding}_{kind}", fitted, read.settings)
"""


def test_two_processes_write_the_same_models_to_the_byte(described: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", SAVE, str(described), str(tmp_path / name)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    written = sorted((tmp_path / "one").iterdir())
    assert len(written) == 20
    for path in written:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
        assert saved_models.load(path, KAZE)


class Stranger:
    """No model, and nobody's that loads models."""


class Evil:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.mark.touch, ())


def test_a_model_that_holds_anything_but_a_model_is_refused_and_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "m.skops", tmp_path / "was here"
    path.write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(InputError, match=r"m\.skops: not a model"):
        saved_models.load(path, KAZE)
    strange: list[dict[str, Any]] = [{"model": model, "descriptors": {}} for model in (subprocess.run, Stranger())]
    no_pipeline = [{"model": "a string", "descriptors": asdict(KAZE)}, {"model": GaussianNB(), "descriptors": [1]}]
    contents = [skops.io.dumps(content) for content in (*strange, *no_pipeline, {"other": 1}, [1])]
    for content in (*contents, contents[-1][:-40]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"m\.skops: not a model.*dvc repro"):
            saved_models.load(path, KAZE)
    with pytest.raises(InputError, match=r"none\.skops: no such file"):
        saved_models.load(tmp_path / "none.skops", KAZE)
    assert not mark.exists()


@pytest.mark.parametrize("child", [2**40, 0, -7])
def test_a_tree_that_leads_out_of_its_memory_is_refused(described: Path, tmp_path: Path, child: int) -> None:
    save(described, "tree", tmp_path / "m.skops")
    assert saved_models.load(tmp_path / "m.skops", KAZE)
    with zipfile.ZipFile(tmp_path / "m.skops") as old, zipfile.ZipFile(tmp_path / "evil.skops", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".npy") and b"left_child" in content:
                nodes = np.load(io.BytesIO(content))
                nodes["left_child"][0] = child
                changed = io.BytesIO()
                np.save(changed, nodes)
                content = changed.getvalue()
            new.writestr(name, content)
    with pytest.raises(InputError, match="its tree leads nowhere"):
        saved_models.load(tmp_path / "evil.skops", KAZE)


def test_a_model_trained_on_other_descriptors_is_refused(described: Path, tmp_path: Path) -> None:
    save(described, "bayes", tmp_path / "m.skops")
    with pytest.raises(InputError, match=r"protocol 'thesis'.*dvc repro baseline"):
        saved_models.load(tmp_path / "m.skops", replace(KAZE, protocol="thesis"))
