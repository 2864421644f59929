"""The keypoints stage describes a photo once, and again only if its bytes, the settings or the code changed."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from support import Script, kill_when, recorded

import keypoints
from classical.conftest import KAZE, ORB
from landmarks.classical import features_file, local_features
from landmarks.common.result_cache import path_for
from landmarks.demo import renderer


@pytest.fixture
def given(photos: Path, tmp_path: Path) -> list[object]:
    """The arguments of the stage; twelve photos lie in ``images``."""
    (tmp_path / "images").mkdir()
    for photo in (photos / "images").glob("p1_*.jpg"):
        shutil.copy(photo, tmp_path / "images")
    return [photos / "photos.csv", *(tmp_path / name for name in ("images", "a.arrow", "counts.json"))]


def described(done: subprocess.CompletedProcess[str]) -> tuple[int, int]:
    """How many photos were described in this run, and of how many."""
    assert done.returncode == 0, done.stderr
    found = re.search(r"^keypoints +(\d+) of (\d+)", done.stdout, re.MULTILINE)
    assert found
    return int(found[1]), int(found[2])


def test_a_photo_is_described_again_only_if_its_bytes_or_the_settings_changed(
    script: Script, given: list[object], tmp_path: Path
) -> None:
    given, shown = [*given, *ORB], tmp_path / "images"
    assert described(script("keypoints", *given)) == (12, 12)
    first = (tmp_path / "a.arrow").read_bytes()
    cache = path_for(tmp_path / "a.arrow")
    assert cache.stat().st_size < len(first)
    assert described(script("keypoints", *given)) == (0, 12)
    assert (tmp_path / "a.arrow").read_bytes() == first
    shutil.copy(shown / "p1_01.jpg", shown / "p1_00.jpg")
    (shown / "p1_02.jpg").write_bytes(renderer.photo(8, 1, 2))
    (shown / "p1_03.jpg").unlink()
    assert described(script("keypoints", *given)) == (1, 11)
    one, other, *_ = features_file.read(tmp_path / "a.arrow").values
    np.testing.assert_array_equal(one, other)
    assert recorded(cache) == 10  # two of the eleven photos have the same bytes
    assert described(script("keypoints", *given, "--count", 30)) == (11, 11)
    cache.write_bytes(b"damaged")
    assert described(script("keypoints", *given, "--count", 30)) == (11, 11)


def test_descriptors_of_another_opencv_or_other_settings_have_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(KAZE, detector="orb")
    names = {keypoints._identity(settings), keypoints._identity(replace(settings, protocol="upright"))}
    monkeypatch.setattr(cv2, "__version__", "4.0.0")
    names.add(keypoints._identity(settings))
    monkeypatch.setattr(local_features, "__file__", features_file.__file__)  # other code
    names.add(keypoints._identity(settings))
    assert len(names) == 4


@pytest.mark.parametrize("detector", ["kaze", "sift", "orb"])
def test_a_packed_row_is_the_same_when_unpacked(detector: local_features.Detector) -> None:
    rng, settings = np.random.default_rng(0), replace(KAZE, detector=detector)
    for kept in (0, 1, 7):
        values = rng.integers(0, 256, (kept, local_features.COLUMNS[detector]))
        points = rng.random((kept, 4), np.float32)
        row = features_file.Row("p", "7", 9, points, values.astype(local_features.NUMBERS[detector]))
        again = features_file.unpacked(features_file.packed(row), "p", "7", settings)
        assert again[:3] == row[:3]
        np.testing.assert_array_equal(again.points, row.points)
        np.testing.assert_array_equal(again.values, row.values)
        assert again.values.dtype == row.values.dtype


def test_a_killed_run_resumes(script: Script, given: list[object], tmp_path: Path) -> None:
    given = [*given, "--detector", "kaze", "--protocol", "joint", "--long-side", 300]
    cache = path_for(tmp_path / "a.arrow")
    kill_when(lambda: recorded(cache) >= 3, "keypoints", *given)
    before = recorded(cache)
    assert 3 <= before < 12
    assert described(script("keypoints", *given)) == (12 - before, 12)
