"""Boxes of faces as arrays: float32 (n, 5), each x, y, width, height in pixels and a score in [0, 1]."""

import cv2
import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]

NONE: Boxes = np.zeros((0, 5), np.float32)


def best(boxes: Boxes, shared: float) -> Boxes:
    """Return the boxes, best first, without those that share more than this part of their union with a better one."""
    kept = cv2.dnn.NMSBoxes(boxes[:, :4].tolist(), boxes[:, 4].tolist(), 0.0, shared)
    return boxes[np.asarray(kept, int)]


def unions(a: Boxes, b: Boxes) -> NDArray[np.float32]:
    """Return the part of its union that each of ``a`` shares with each of ``b``: float32 (len(a), len(b))."""
    near, far = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(_ends(a)[:, None], _ends(b))
    shared = np.prod(np.maximum(far - near, 0), axis=2)
    areas = np.prod(a[:, 2:4], axis=1)[:, None] + np.prod(b[:, 2:4], axis=1)
    return np.asarray(shared / np.maximum(areas - shared, 1e-6), np.float32)


def turn_back(boxes: Boxes, turns: int, width: int, height: int) -> Boxes:
    """Return where boxes lie in a photo of ``width`` x ``height`` that were found after quarter turns against the clock."""
    x, y, w, h, score = boxes.T
    if turns == 1:
        x, y, w, h = width - y - h, x, h, w
    elif turns == 2:
        x, y = width - x - w, height - y - h
    elif turns == 3:
        x, y, w, h = y, height - x - w, h, w
    return np.stack([x, y, w, h, score], axis=1)


def _ends(boxes: Boxes) -> Boxes:
    return boxes[:, :2] + boxes[:, 2:4]
