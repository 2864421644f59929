"""Descriptors to fit keypoint models on, and how the tests run the stages that do."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from landmarks.classical import encodings, features_file
from landmarks.classical.local_features import FeatureSettings

KAZE = FeatureSettings(detector="kaze", count=40, long_side=320, protocol="joint")
SMALL = ("--words", 4, "--components", 6, "--sample", 400)
BAYES = ("--features", "kaze", "--encoding", "flat", "--pca", 0, "--classifier", "bayes")
ORB, SIFT = (("--detector", name, "--protocol", "joint") for name in ("orb", "sift"))


def write(path: Path, read: features_file.Features, values: encodings.Photos) -> None:
    rows = zip(read.ids, read.landmarks, read.found.tolist(), read.points, values, strict=True)
    features_file.write(path, read.settings, (features_file.Row(*row) for row in rows))


@pytest.fixture(scope="session")
def described(split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KAZE descriptors in which the landmark shows; one photo has none."""
    rng = np.random.default_rng(0)
    rows = []
    for _, (photo, landmark) in pd.read_csv(split, dtype=str)[["id", "landmark_id"]].iterrows():
        kept = 0 if photo == "p2_03" else int(rng.integers(5, 40))
        values = rng.normal(0, 1, (kept, 64)) + np.eye(64)[int(landmark)] * 3
        points = rng.random((kept, 4), np.float32)
        rows.append(features_file.Row(photo, landmark, kept, points, values.astype(np.float32)))
    path = tmp_path_factory.mktemp("features") / "kaze.arrow"
    features_file.write(path, KAZE, iter(rows))
    return path
