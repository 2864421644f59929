"""Which keypoints of two photos are the same point of a place (the thesis' figures 10 and 11, verified)."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from landmarks.classical.local_features import BINARY, Detector, comparable

Both = tuple[NDArray[Any], NDArray[Any]]  # an array of each photo

TOLERANCE = 0.01  # of the longer side: how far from where the homography puts it a point may lie
SCALE = 1000  # RANSAC works in these units a side, in which its own numerical bounds make sense
FEWEST = 4  # pairs that a homography needs


@dataclass(frozen=True)
class Matches:
    """``pairs`` int64 (m, 2): keypoint of the one photo, of the other; ``inliers`` bool (m,): which agree on one plane."""

    pairs: NDArray[np.int64]
    inliers: NDArray[np.bool_]


def match(points: Both, values: Both, detector: Detector, ratio: float = 0.8) -> Matches:
    """Pairs of keypoints of two photos, and those of them that one homography explains.

    Args:
        points: float32 (k, 2 or more) of each photo: x, y in shares of the longer side.
        values: their descriptors, (k, columns), compared by Hamming or Euclidean distance, as suits the ``detector``.
        ratio: a pair counts if its distance is below this share of the second nearest one's (Lowe, 2004).

    Returns:
        The pairs, a keypoint in one of them at most, and RANSAC's inliers among them (Fischler and Bolles, 1981): none
        where there are fewer than four pairs, or where their homography mirrors or flattens the photo.
    """
    pairs = _nearest(values, detector, ratio)
    inliers = np.zeros(len(pairs), bool)
    if len(pairs) >= FEWEST:
        one, other = (np.float32(SCALE) * xy[pairs[:, side], :2] for side, xy in enumerate(points))
        homography, mask = cv2.findHomography(one, other, cv2.RANSAC, TOLERANCE * SCALE)
        if homography is not None and _keeps_shape(homography):
            inliers = mask.ravel().astype(bool)
    return Matches(pairs, inliers)


def _nearest(values: Both, detector: Detector, ratio: float) -> NDArray[np.int64]:
    if not len(values[0]) or len(values[1]) < 2:
        return np.zeros((0, 2), np.int64)
    binary = detector in BINARY
    one, other = values if binary else (comparable(side, detector) for side in values)
    found = cv2.BFMatcher(cv2.NORM_HAMMING if binary else cv2.NORM_L2).knnMatch(one, other, 2)
    kept = [best for best, second in found if best.distance < ratio * second.distance]
    kept.sort(key=lambda best: best.distance)
    once = {match.trainIdx: match.queryIdx for match in reversed(kept)}  # of several for one keypoint, the nearest
    return np.array(sorted((query, train) for train, query in once.items()), np.int64).reshape(-1, 2)


def _keeps_shape(homography: NDArray[np.float64]) -> bool:
    """Neither mirrors a photo nor squeezes it to less than a hundredth, in its middle: no other view of a place does."""
    x = y = SCALE / 2
    h, (u, v, w) = homography, homography @ (x, y, 1)
    along = np.array([[h[0, 0] - h[2, 0] * u / w, h[0, 1] - h[2, 1] * u / w],
                      [h[1, 0] - h[2, 0] * v / w, h[1, 1] - h[2, 1] * v / w]]) / w  # fmt: skip
    return bool(0.01 < np.linalg.det(along) < 100)
