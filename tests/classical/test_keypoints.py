"""The keypoints stage describes each photo by its strongest keypoints, as the thesis did or as the detectors are meant."""

import json
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support import Script, examples, fails_in_one_line

from classical.conftest import ORB, SIFT
from landmarks.classical import features_file, local_features, matching
from landmarks.common.errors import InputError
from landmarks.images import decoding

DETECTORS = get_args(local_features.Detector)
PROTOCOLS = get_args(local_features.Protocol)
TOOLS = {"kaze": cv2.KAZE_create, "orb": cv2.ORB_create, "akaze": cv2.AKAZE_create, "sift": cv2.SIFT_create}


def recipe(detector: str, protocol: str = "joint", count: int = 32) -> local_features.FeatureSettings:
    return local_features.FeatureSettings(detector=detector, count=count, long_side=320, protocol=protocol)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def picture(photos: Path) -> decoding.Picture:
    return decoding.read(photos / "images" / "p1_00.jpg", 320)


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_thesis_protocol_is_opencvs_detect_and_compute_to_the_bit(picture: decoding.Picture, detector: str) -> None:
    tool = TOOLS[detector]()
    strongest = sorted(tool.detect(picture), key=lambda point: -point.response)[:32]
    _, expected = tool.compute(picture, strongest)
    _, values, _ = local_features.describe(picture, recipe(detector, "thesis"))
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_joint_protocol_keeps_the_strongest_of_detect_and_compute(picture: decoding.Picture, detector: str) -> None:
    every, rows = TOOLS[detector]().detectAndCompute(picture, None)
    points, values, found = local_features.describe(picture, recipe(detector))
    assert (len(points), len(values), found) == (32, 32, len(every))
    assert {row.tobytes() for row in values} <= {row.astype(values.dtype).tobytes() for row in rows}
    assert min(point.response for point in points) == sorted(point.response for point in every)[-32]


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_upright_protocol_turns_no_patch_and_keeps_a_point_once(picture: decoding.Picture, detector: str) -> None:
    points, values, _ = local_features.describe(picture, recipe(detector, "upright", 600))
    if detector != "akaze":  # which notes the direction, and describes without it
        assert {point.angle for point in points} == {0.0}
    if detector == "sift":  # which gives a place a keypoint for each of its directions
        assert len({(point.pt, point.size) for point in points}) == len(points)
    _, turned, _ = local_features.describe(picture, recipe(detector, "joint", 600))
    assert {row.tobytes() for row in values} != {row.tobytes() for row in turned}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("detector", DETECTORS)
def test_a_photo_without_a_keypoint_has_no_descriptors(detector: str, protocol: str) -> None:
    points, values, found = local_features.describe(np.full((120, 160, 3), 128, np.uint8), recipe(detector, protocol))
    assert (points, found) == ([], 0)
    assert values.shape == (0, local_features.COLUMNS[detector])  # type: ignore[index]


@settings(max_examples=examples(40))
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    seed=st.integers(0, 99),
    detector=st.sampled_from(DETECTORS),
    protocol=st.sampled_from(PROTOCOLS),
)
def test_a_photo_of_any_size_is_described(height: int, width: int, seed: int, detector: str, protocol: str) -> None:
    """AKAZE writes past its memory in photos a pixel high; below 32 pixels a side nothing is looked for."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    points, values, found = local_features.describe(noise, recipe(detector, protocol, 20))
    assert len(points) == len(values) <= min(20, found)
    assert all(0 <= point.pt[0] < width and 0 <= point.pt[1] < height for point in points)
    if min(height, width) < local_features.SMALLEST:
        assert found == 0


def test_distances_of_comparable_descriptors_are_those_the_field_uses() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 256, (2, 1, 32), np.uint8)
    bits = [local_features.comparable(each, "orb") for each in (one, other)]
    assert ((bits[0] - bits[1]) ** 2).sum() == cv2.norm(one, other, cv2.NORM_HAMMING)
    roots = local_features.comparable(rng.integers(0, 256, (5, 128), np.uint8), "sift")
    np.testing.assert_allclose(np.linalg.norm(roots, axis=1), 1, rtol=1e-6)  # RootSIFT: Hellinger's kernel
    assert not local_features.comparable(np.zeros((1, 128), np.uint8), "sift").any()


ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 99)), min_size=1, max_size=150)


@settings(max_examples=examples(25))
@given(rows=ROWS, detector=st.sampled_from(DETECTORS))
def test_what_is_written_is_read_again_without_a_copy(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int]], detector: local_features.Detector
) -> None:
    """Any number of photos with any number of keypoints, none among them."""
    rng = np.random.default_rng(0)
    kind, columns = (np.float32 if detector == "kaze" else np.uint8), local_features.COLUMNS[detector]
    made = [
        features_file.Row(
            f"p{i}", name, found, rng.random((kept, 4), np.float32), rng.integers(0, 256, (kept, columns)).astype(kind)
        )
        for i, (name, kept, found) in enumerate(rows)
    ]
    path = tmp_path_factory.mktemp("f") / "f.arrow"
    features_file.write(path, recipe(detector), iter(made))
    read = features_file.read(path)
    assert read.settings == recipe(detector)
    assert [*zip(read.ids, read.landmarks, read.found, strict=True)] == [row[:3] for row in made]
    for row, points, values in zip(made, read.points, read.values, strict=True):
        np.testing.assert_array_equal(points, row.points)
        np.testing.assert_array_equal(values, row.values)
        assert values.dtype == kind
        assert not values.flags.owndata  # a view into the file: descriptors of a million photos need no memory


def test_one_worker_and_two_write_the_same_bytes(script: Script, photos: Path, tmp_path: Path) -> None:
    kinds = ("arrow", "json")
    for workers in "12":
        out = [tmp_path / f"{workers}.{kind}" for kind in kinds]
        done = script("keypoints", photos / "photos.csv", photos / "images", *out, *ORB, LANDMARKS_WORKERS=workers)
        assert done.returncode == 0, done.stderr
    for kind in kinds:
        assert (tmp_path / f"1.{kind}").read_bytes() == (tmp_path / f"2.{kind}").read_bytes()
    table = pd.read_feather(tmp_path / "1.arrow")
    assert list(table.columns) == ["id", "landmark_id", "found", "points", "values"]
    assert (len(table), table["landmark_id"][0]) == (36, "1")


def test_photos_with_few_or_no_keypoints_are_kept_and_counted(script: Script, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    decoding.write(tmp_path / "images" / "p1_00.jpg", decoding.read(photos / "images" / "p1_00.jpg"), 90)
    grey = np.full((90, 120, 3), 128, np.uint8)
    decoding.write(tmp_path / "images" / "p1_01.jpg", grey, 90)
    decoding.write(tmp_path / "images" / "p1_02.jpg", cv2.rectangle(grey, (30, 30), (60, 60), (255, 255, 255), -1), 90)
    out = [tmp_path / name for name in ("f.arrow", "f.json")]
    done = script("keypoints", photos / "photos.csv", tmp_path / "images", *out, *SIFT)
    assert done.returncode == 0, done.stderr
    counted = json.loads((tmp_path / "f.json").read_text())
    assert (counted["photos"], counted["none"], counted["below_32"]) == (3, 1, 2)
    assert [len(values) > 0 for values in features_file.read(out[0]).values] == [True, False, True]


def test_a_file_that_is_no_features_is_an_error_that_names_it(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["a"]}).to_feather(tmp_path / "other.arrow")
    (tmp_path / "f.arrow").write_bytes(b"nonsense")
    (tmp_path / "empty.arrow").write_bytes(b"")
    for name in ("f.arrow", "none.arrow", "empty.arrow", "other.arrow"):
        with pytest.raises(InputError, match=name):
            features_file.read(tmp_path / name)


@settings(max_examples=examples(60))
@given(st.data())
def test_a_damaged_file_is_refused_or_read_without_leaving_its_memory(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    rng = np.random.default_rng(0)
    points, values = rng.random((4, 3, 4), np.float32), rng.integers(0, 256, (4, 3, 32), np.uint8)
    rows = [features_file.Row(f"p{i}", "a", 3, points[i], values[i]) for i in range(4)]
    path = tmp_path_factory.mktemp("f") / "f.arrow"
    features_file.write(path, recipe("orb"), iter(rows))
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        read = features_file.read(path)
    except InputError as error:
        assert "f.arrow" in str(error)  # noqa: PT017 - a damaged descriptor is as good as another
        return
    assert all(len(points) == len(values) for points, values in zip(read.points, read.values, strict=True))
    assert sum(int(values.sum()) for values in read.values) >= 0


def test_a_photo_too_large_for_kazes_memory_cannot_be_asked_for(script: Script, photos: Path, tmp_path: Path) -> None:
    done = script("keypoints", photos / "photos.csv", photos / "images", tmp_path, tmp_path, *ORB, "--long-side", 9000)
    assert done.returncode == 2
    assert "2048" in done.stderr


def described(picture: decoding.Picture, detector: str) -> tuple[np.ndarray, np.ndarray]:
    points, values, _ = local_features.describe(picture, recipe(detector, "joint", 400))
    return np.array([point.pt for point in points], np.float32) / max(picture.shape[:2]), values


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_photo_matches_itself_and_the_same_place_from_elsewhere_but_no_noise(
    picture: decoding.Picture, detector: local_features.Detector
) -> None:
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moves = np.array([[30, 20], [10, 5], [20, 15], [12, 22]], np.float32)
    aside = cv2.getPerspectiveTransform(corners, corners * 0.8 + moves)
    other = cv2.warpPerspective(picture, aside, (width, height), borderMode=cv2.BORDER_REPLICATE)
    (points, values), (moved, moved_values) = described(picture, detector), described(other, detector)
    itself = matching.match((points, points), (values, values), detector)
    assert itself.inliers.all()
    assert (itself.pairs[:, 0] == itself.pairs[:, 1]).all()
    found = matching.match((points, moved), (values, moved_values), detector)
    assert found.inliers.sum() >= 30
    where = cv2.perspectiveTransform(points[None, found.pairs[:, 0]] * width, aside)[0] / width
    apart = np.linalg.norm(where - moved[found.pairs[:, 1]], axis=1)
    assert (apart[found.inliers] < 2 * matching.TOLERANCE).all()
    noise = described(np.random.default_rng(0).integers(0, 256, picture.shape, np.uint8), detector)
    assert matching.match((points, noise[0]), (values, noise[1]), detector).inliers.sum() < 10


def test_many_keypoints_that_look_like_one_of_the_other_photo_agree_on_nothing() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 256, (40, 32), np.uint8), rng.integers(0, 256, (6, 32), np.uint8)
    one[:] = other[0]
    one[np.arange(40), rng.integers(0, 32, 40)] ^= 1  # all nearly the same
    found = matching.match((rng.random((40, 2), np.float32), rng.random((6, 2), np.float32)), (one, other), "orb")
    assert len(found.pairs) == 1
    assert not found.inliers.any()
    mirrored = rng.random((30, 2), np.float32)
    values = rng.integers(0, 256, (30, 32), np.uint8)
    turned = np.array([1, 0], np.float32) + mirrored * np.array([-1, 1], np.float32)
    assert not matching.match((mirrored, turned), (values, values), "orb").inliers.any()
    assert matching.match((mirrored, mirrored * np.float32(0.5)), (values, values), "orb").inliers.all()


@given(arrays.arrays(np.uint8, st.tuples(st.integers(0, 6), st.just(32))), st.integers(0, 6))
def test_photos_with_hardly_a_keypoint_match_nowhere_without_an_error(values: np.ndarray, kept: int) -> None:
    points = np.random.default_rng(0).random((len(values), 2), np.float32)
    few = values[:kept], points[:kept]
    found = matching.match((points, few[1]), (values, few[0]), "orb")
    assert len(found.pairs) == len(found.inliers) <= len(values)


def test_a_broken_photo_is_an_error_that_names_it(script: Script, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "p1_00.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    out = [tmp_path / name for name in ("f.arrow", "f.json")]
    done = script("keypoints", photos / "photos.csv", tmp_path / "images", *out, *ORB)
    fails_in_one_line(done, "p1_00.jpg", "does not decode")
    assert not any(path.exists() for path in out)
