"""The keypoints stage describes each photo by its strongest keypoints, as the thesis did or as KAZE is meant."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import Script

from landmarks import descriptors
from landmarks import photos as pictures
from landmarks.errors import InputError


@pytest.fixture(scope="module")
def picture(photos: Path) -> pictures.Picture:
    return pictures.read(photos / "images" / "p1_00.jpg", 320)


@pytest.mark.parametrize("detector", ["kaze", "orb"])
def test_the_thesis_protocol_is_opencvs_detect_then_compute_bit_for_bit(
    picture: pictures.Picture, detector: descriptors.Detector
) -> None:
    tool = {"kaze": cv2.KAZE_create, "orb": cv2.ORB_create}[detector]()
    strongest = sorted(tool.detect(picture), key=lambda point: -point.response)[:32]
    _, expected = tool.compute(picture, strongest)
    _, values = descriptors.describe(picture, detector, 32, "thesis")
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("detector", ["kaze", "orb"])
def test_the_joint_protocol_keeps_rows_of_detect_and_compute(
    picture: pictures.Picture, detector: descriptors.Detector
) -> None:
    tool = {"kaze": cv2.KAZE_create, "orb": cv2.ORB_create}[detector]()
    every, rows = tool.detectAndCompute(picture, None)
    points, values = descriptors.describe(picture, detector, 32, "joint")
    assert len(points) == 32
    assert {row.tobytes() for row in values} <= {row.tobytes() for row in rows}
    assert min(point.response for point in points) == sorted(point.response for point in every)[-32]


@pytest.mark.parametrize("protocol", ["joint", "thesis"])
@pytest.mark.parametrize(("detector", "width"), [("kaze", 2048), ("orb", 1024)])
def test_a_photo_without_a_keypoint_is_a_row_of_zeros(
    detector: descriptors.Detector, width: int, protocol: descriptors.Protocol
) -> None:
    points, values = descriptors.describe(np.full((120, 160, 3), 128, np.uint8), detector, 32, protocol)
    assert points == []
    row = descriptors.flatten(values, 32)
    assert row.shape == (width,)
    assert not row.any()


def test_a_photo_matches_itself_in_every_keypoint(picture: pictures.Picture) -> None:
    _, values = descriptors.describe(picture, "kaze", 32, "joint")
    found = descriptors.matches(values, values)
    assert [(match.queryIdx, match.trainIdx) for match in sorted(found, key=lambda m: m.queryIdx)] == [
        (i, i) for i in range(32)
    ]
    assert descriptors.matches(values[:0], values) == []


def test_one_worker_and_two_write_the_same_bytes(script: Script, photos: Path, tmp_path: Path) -> None:
    for workers in "12":
        out = [tmp_path / f"{workers}.npz", tmp_path / f"{workers}.png"]
        done = script(
            "keypoints",
            photos / "photos.csv",
            photos / "images",
            *out,
            "--detector",
            "orb",
            LANDMARKS_WORKERS=workers,
        )
        assert done.returncode == 0, done.stderr
    for kind in ("npz", "png"):
        assert (tmp_path / f"1.{kind}").read_bytes() == (tmp_path / f"2.{kind}").read_bytes()
    features = descriptors.load(tmp_path / "1.npz")
    assert features.values.shape == (36, 1024)
    assert list(features.landmarks[:2]) == ["1", "1"]


def test_a_file_that_is_no_features_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "f.npz").write_bytes(b"nonsense")
    for name in ("f.npz", "none.npz"):
        with pytest.raises(InputError, match=name):
            descriptors.load(tmp_path / name)
