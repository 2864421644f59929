"""Augmented views of a photo: the thesis' figure 13, drawn from the photo's id instead of from chance."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from landmarks.images import decoding

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Ranges:
    """How far a view may stray, with the meaning that Keras' ImageDataGenerator gave these numbers."""

    rotation: float = 40.0  # degrees, either way
    shift: float = 0.2  # part of a side, either way
    shear: float = 0.2  # degrees (not radians), either way: as written in the thesis, hardly anything
    zoom: float = 0.2  # each axis by a factor between 1 - zoom and 1 + zoom
    flip: bool = True  # left to right, every other view


def views(folder: Path, size: int, crop: bool, ranges: Ranges, seed: int, shot: tuple[str, int]) -> list[Picture]:
    """A photo of ``folder`` as a network sees it, uint8 RGB (size, size, 3), and the first views of it: ``shot`` is (id, how many)."""
    photo, count = shot
    picture = decoding.read_square(folder / f"{photo}.jpg", size, crop)
    return [picture, *(view(picture, photo, number, ranges, seed) for number in range(count))]


def view(picture: Picture, key: str, number: int, ranges: Ranges, seed: int) -> Picture:
    """View ``number`` of the photo called ``key``: uint8 (height, width, channels), as the photo.

    All changes are composed into one affine map, so the photo is interpolated once; its edge pixels fill what comes in.
    The same arguments give the same view, whatever was drawn before.
    """
    rng = np.random.default_rng([seed, zlib.crc32(key.encode()), number])
    height, width = picture.shape[:2]
    turn, lean = (
        np.deg2rad(rng.uniform(-ranges.rotation, ranges.rotation)),
        np.deg2rad(rng.uniform(-1, 1) * ranges.shear),
    )
    zoom_x, zoom_y = rng.uniform(1 - ranges.zoom, 1 + ranges.zoom, 2)
    shift = rng.uniform(-ranges.shift, ranges.shift, 2) * (width, height)
    mirror = -1.0 if ranges.flip and rng.random() < 0.5 else 1.0
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = rotate @ np.array([[1, -np.sin(lean)], [0, np.cos(lean)]]) @ np.diag([zoom_x * mirror, zoom_y])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    affine = np.column_stack([linear, centre + shift - linear @ centre])
    warped = cv2.warpAffine(
        picture, affine, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, np.uint8)
