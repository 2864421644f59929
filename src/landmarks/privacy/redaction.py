"""Faces: boxes around them, and what makes them unreadable."""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Method = Literal["pixelate", "blur", "solid"]
Shape = Literal["box", "ellipse"]
Box = tuple[int, int, int, int]  # x, y, w, h

SAME = 0.7  # a box that lies in a larger one by this part is the same face
GREY = 128
NOISE = 40.0  # standard deviation of a mosaic's squares around it


@dataclass(frozen=True)
class Face:
    """A detected face: box in pixels, score in [0, 1]."""

    x: int
    y: int
    w: int
    h: int
    score: float


def merge(found: list[Face]) -> list[Face]:
    """The same faces, largest first, without those that lie in a larger one, which takes the higher of the two scores.

    If a large box kept its own low score, a caller that filters by score would lose the face that was found inside it.
    """
    kept: list[Face] = []
    for face in sorted(found, key=lambda face: (-face.w * face.h, -face.score, face.x, face.y)):
        place = next((place for place, larger in enumerate(kept) if lies_in(box_of(face), box_of(larger))), None)
        if place is None:
            kept.append(face)
        else:
            kept[place] = replace(kept[place], score=max(kept[place].score, face.score))
    return kept


def box_of(face: Face) -> Box:
    """The box of a detection."""
    return face.x, face.y, face.w, face.h


def shared(one: Box, other: Box) -> int:
    """The area that two boxes share, pixels."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)


def lies_in(box: Box, larger: Box) -> bool:
    """Whether so much of a box lies in a larger one that both are of the same face."""
    return shared(box, larger) >= SAME * box[2] * box[3]


def obscure(
    picture: Picture, faces: list[Face], method: Method, margin: float, cells: int, shape: Shape = "box"
) -> Picture:
    """A copy of the photo with every face made unreadable.

    ``pixelate`` leaves a mosaic of ``cells`` x ``cells`` squares of random grey: it looks like the thesis' and holds none of the
    face. A mosaic of the face's own colours, as in the thesis, is recognised by comparison with another photo
    (python bench/anonymize.py restore). ``solid`` is one grey. ``blur`` is the thesis' Gaussian and keeps much of the
    face: it is there to be compared. The photo is uint8 BGR (height, width, 3); ``margin`` is how far beyond a box, as a part
    of its sides, the cover reaches: over all of it, or the ellipse in it.
    """
    picture = picture.copy()
    for face in faces:
        pad_x, pad_y = round(face.w * margin), round(face.h * margin)
        top, bottom = max(face.y - pad_y, 0), min(face.y + face.h + pad_y, picture.shape[0])
        left, right = max(face.x - pad_x, 0), min(face.x + face.w + pad_x, picture.shape[1])
        if top >= bottom or left >= right:
            continue
        size = right - left, bottom - top
        region = picture[top:bottom, left:right]
        if method == "solid":
            cover = np.full_like(region, GREY)
        elif method == "blur":
            kernel = max(size[0] // 2 * 2 + 1, 3), max(size[1] // 2 * 2 + 1, 3)  # as wide as the face
            cover = cv2.GaussianBlur(region, kernel, 30).reshape(region.shape)
        else:
            cover = _mosaic(region, cells)
        if shape == "ellipse":
            mask = np.zeros(region.shape[:2], np.uint8)
            cv2.ellipse(mask, (size[0] // 2, size[1] // 2), (-(-size[0] // 2), -(-size[1] // 2)), 0, 0, 360, 255, -1)
            region[mask > 0] = cover[mask > 0]
        else:
            region[:] = cover
    return picture


def _mosaic(region: Picture, cells: int) -> Picture:
    """Grey squares, uint8 in the shape of ``region``; the same for the same photo."""
    seed = int.from_bytes(hashlib.blake2b(region.tobytes(), digest_size=8).digest(), "little")
    squares = np.random.default_rng(seed).normal(GREY, NOISE, (cells, cells))
    small = np.clip(squares, 0, 255).astype(np.uint8)
    whole = cv2.resize(small, region.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return np.repeat(whole[..., None], 3, axis=2)
