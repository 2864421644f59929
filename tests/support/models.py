"""Small networks, and pictures to show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

import stage
from landmarks.classical.config import Encoding, Kind, PipelineConfig
from landmarks.deep.config import NetworkConfig, Recipe, TrainingConfig
from landmarks.download.fetcher import FetchSettings
from landmarks.images.preprocessing import Preprocessing, View
from landmarks.privacy.gate import GateSettings
from landmarks.serving import dvc_lineage

SIDE = 128  # pixels of a photo that the network of the tests takes


def recipe(augment: bool = False, seed: int = 0, **changed: Any) -> Recipe:
    """The recipe of params.yaml with some values ``changed``."""
    training = stage.block("cnn", TrainingConfig, **{"size": SIDE, "augmentations": 1, "epochs": 1, **changed})
    return Recipe(training, NetworkConfig(augment), seed)


def gate_settings(**changed: Any) -> GateSettings:
    """The gate of params.yaml with some values ``changed``."""
    return stage.block("anonymize", GateSettings, **changed)


def fetch_settings(**changed: Any) -> FetchSettings:
    """The download of params.yaml with some values ``changed``."""
    return stage.block("download", FetchSettings, **changed)


def preprocessing(size: int = SIDE, views: tuple[View, ...] = ("middle",)) -> Preprocessing:
    """RGB in [0, 1]."""
    return Preprocessing(size=size, low=0, high=1, views=views)


def pipeline(
    encoding: Encoding, classifier: Kind, n: int = 0, words: int = 4, components: int = 6, sample: int = 400
) -> PipelineConfig:
    """A small keypoint model on KAZE."""
    return PipelineConfig(
        detector="kaze", encoding=encoding, classifier=classifier, n=n, keypoints=32, words=words,
        components=components, sample=sample, seed=0,
    )  # fmt: skip


def record(folder: Path) -> None:
    """The dvc.lock of a plain.json and the threshold chosen on it."""
    entries = {
        name: {"path": name, "hash": "md5", "md5": dvc_lineage.md5(folder / name)}
        for name in ("plain.json", "plain.weights.h5", "threshold.json", "landmarks.csv")
    }
    model = [entries["plain.json"], entries["plain.weights.h5"]]
    stages = {
        "places": {"cmd": "x", "outs": [entries["landmarks.csv"]]},
        "cnn@plain": {"cmd": "x", "outs": model},
        "reject": {"cmd": "x", "deps": model, "outs": [entries["threshold.json"]]},
    }
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def turned(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A picture as a camera stores it that lay so when it was taken: the EXIF orientation, 1 to 8, makes it upright again."""
    quarter = np.rot90(upright)
    stored = [upright, upright[:, ::-1], upright[::-1, ::-1], upright[::-1], upright.transpose(1, 0, 2),
              quarter, np.rot90(upright, 2).transpose(1, 0, 2), np.rot90(upright, -1)]  # fmt: skip
    return np.ascontiguousarray(stored[orientation - 1])
