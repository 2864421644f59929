"""Augmented views of a photo (the thesis' figure 13), drawn from the photo's id so that they repeat."""

import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from landmarks.deep.config import Augmentation

Picture = NDArray[np.uint8]


def view(picture: Picture, key: str, number: int, ranges: Augmentation, seed: int) -> Picture:
    """View ``number`` of the photo with the id ``key``: uint8 (height, width, channels), like the photo.

    All changes form one affine map, so the photo is interpolated once; its edge pixels fill what comes in.
    The same arguments give the same view, whatever was drawn before.
    """
    rng = np.random.default_rng([seed, zlib.crc32(key.encode()), number])
    height, width = picture.shape[:2]
    turn = np.deg2rad(rng.uniform(-ranges.rotation, ranges.rotation))
    lean = np.deg2rad(rng.uniform(-1, 1) * ranges.shear)
    zoom_x, zoom_y = rng.uniform(1 - ranges.zoom, 1 + ranges.zoom, 2)
    shift = rng.uniform(-ranges.shift, ranges.shift, 2) * (width, height)
    mirror = -1.0 if ranges.flip and rng.random() < 0.5 else 1.0
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = rotate @ np.array([[1, -np.sin(lean)], [0, np.cos(lean)]]) @ np.diag([zoom_x * mirror, zoom_y])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    affine = np.column_stack([linear, centre + shift - linear @ centre])
    flags, edges = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
    return np.asarray(cv2.warpAffine(picture, affine, (width, height), flags=flags, borderMode=edges), np.uint8)
