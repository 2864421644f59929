"""Keypoints of a photo and their descriptors (the thesis' figures 7 to 11)."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from landmarks.common.knobs import Knob

Picture = NDArray[np.uint8]
Detector = Literal["kaze", "orb", "akaze", "sift"]
Protocol = Literal["joint", "upright", "thesis"]

COLUMNS: dict[Detector, int] = {"kaze": 64, "orb": 32, "akaze": 61, "sift": 128}
BINARY: tuple[Detector, ...] = ("orb", "akaze")  # their bytes hold bits, compared by Hamming distance
NUMBERS: dict[Detector, type[np.generic]] = {"kaze": np.float32, "orb": np.uint8, "akaze": np.uint8, "sift": np.uint8}
SMALLEST = 32  # pixels a side; in photos a pixel high AKAZE writes past its memory, ORB and SIFT raise


@dataclass(frozen=True)
class FeatureConfig:
    """An entry of ``features`` in params.yaml."""

    # kaze: Alcantarilla et al., 2012, 64 floats; akaze: the same, 2013, 61 bytes; orb: Rublee et al., 2011, 32 bytes;
    # sift: Lowe, 2004, 128 bytes
    detector: Annotated[Detector, Knob("Kind of keypoint and descriptor")]
    # thesis leaves out the multiscale derivatives of KAZE; upright leaves each patch unrotated: buildings stand upright
    protocol: Annotated[
        Protocol, Knob("joint: detect and describe at once; upright: unrotated; thesis: detect, select, then describe")
    ]


@dataclass(frozen=True)
class KeypointsConfig:
    """The block ``keypoints`` of params.yaml."""

    count: Annotated[int, Knob("Strongest keypoints kept of a photo, by response", min=1, max=100_000)]
    long_side: Annotated[int, Knob("Pixels that photos are shrunk to (KAZE: 500 MB a megapixel)", min=32, max=2048)]


@dataclass(frozen=True)
class FeatureSettings(KeypointsConfig, FeatureConfig):
    """All that decides which descriptors a photo has."""


def describe(picture: Picture, settings: FeatureSettings) -> tuple[list[Any], NDArray[Any], int]:
    """The strongest keypoints of a photo, uint8 BGR (height, width, 3), already shrunk; and their descriptors.

    Returns ``cv2.KeyPoint``, strongest first (``thesis``: as OpenCV leaves them); float32 (KAZE) or uint8, (as many,
    ``COLUMNS``); how many there were before the strongest were kept.
    """
    empty: NDArray[Any] = np.zeros((0, COLUMNS[settings.detector]), NUMBERS[settings.detector])
    if min(picture.shape[:2]) < SMALLEST:
        return [], empty, 0
    tool = _tool(settings)
    if settings.protocol == "thesis":
        found = tool.detect(picture)
        points, values = tool.compute(picture, _strongest(found, settings.count))
    elif settings.protocol == "upright" and settings.detector in ("sift", "orb"):
        found = list({(point.pt, point.size): point for point in tool.detect(picture)}.values())  # not one a direction
        points = _strongest(found, settings.count)
        for point in points:
            point.angle = 0.0
        points, values = tool.compute(picture, points)
    else:
        found, values = tool.detectAndCompute(picture, None)
        order = _order(found)[: settings.count]
        points, values = [found[i] for i in order], None if values is None else values[order]
    if values is None:
        return [], empty, len(found)
    return list(points), values.astype(empty.dtype), len(found)


def _tool(settings: FeatureSettings) -> Any:
    upright = settings.protocol == "upright"
    match settings.detector:
        case "kaze":
            return cv2.KAZE_create(upright=upright)
        case "akaze":
            return cv2.AKAZE_create(cv2.AKAZE_DESCRIPTOR_MLDB_UPRIGHT if upright else cv2.AKAZE_DESCRIPTOR_MLDB)
        case "orb":
            return cv2.ORB_create(max(settings.count, 500))  # 500: OpenCV's own, which the thesis had
        case "sift":
            return cv2.SIFT_create()


def _order(points: Any) -> NDArray[np.intp]:
    return np.argsort([-point.response for point in points], kind="stable")


def _strongest(points: Any, count: int) -> list[Any]:
    return [points[i] for i in _order(points)[:count]]


def comparable(values: NDArray[Any], detector: Detector) -> NDArray[np.float32]:
    """Descriptors (k, columns) as numbers that Euclidean distance suits, float32.

    The bits of binary ones, 0 or 1, (k, 8 * columns): their squared distance is Hamming's. The roots of SIFT's, as
    shares of their sum (RootSIFT: Arandjelović and Zisserman, 2012). KAZE's as they are.
    """
    if detector in BINARY:
        return np.unpackbits(values, axis=1).astype(np.float32)
    numbers = values.astype(np.float32)
    if detector == "sift":
        return np.sqrt(numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1))
    return numbers
