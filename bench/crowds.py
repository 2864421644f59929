"""Photos of crowds whose faces are known: portraits pasted into photos, upright, lying or tilted."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

from landmarks.demo.renderer import PORTRAITS  # noqa: E402 - needs the path

Picture = NDArray[np.uint8]
Box = tuple[float, float, float, float]  # x, y, width, height, pixels
LARGEST = 2.0  # times the size of a head in its own photo: beyond, a blur would be pasted


@dataclass(frozen=True)
class Crowd:
    """A photo and the boxes of the heads in it."""

    picture: Picture
    boxes: list[Box]


def head(picture: Picture, box: Box) -> Picture:
    """Cut a head out of a photo, uint8 BGRA: an ellipse in its box, with a soft edge."""
    left, top = max(round(box[0]), 0), max(round(box[1]), 0)
    region = picture[top : round(box[1] + box[3]), left : round(box[0] + box[2])]
    high, wide = region.shape[:2]
    mask = np.zeros((high, wide), np.uint8)
    cv2.ellipse(mask, (wide // 2, high // 2), (wide // 2, high // 2), 0, 0, 360, 255, -1)
    return np.asarray(np.dstack([region, cv2.GaussianBlur(mask, (0, 0), max(high / 60, 1))]), np.uint8)


def portraits() -> list[Picture]:
    """Return the heads of the two public-domain portraits that installed packages carry, uint8 BGRA."""
    found = []
    for package, file, (x, y, w, h) in PORTRAITS:
        spec = importlib.util.find_spec(package)
        photo = np.asarray(Image.open(Path(str(spec and spec.origin)).parent / file).convert("RGB"))
        found.append(head(np.ascontiguousarray(photo[..., ::-1]), (x, y, w, h)))
    return found


def crowd(background: Picture, heads: list[Picture], sizes: list[int], seed: int, tilt: float = 0.0) -> Crowd:
    """Paste a head of each of ``sizes`` (height, pixels) into a cell of its own of a grid over a photo.

    ``tilt`` is the largest angle, degrees, by which a head is turned; half of it is the smallest.
    """
    rng = np.random.default_rng(seed)
    picture, boxes = background.copy(), []
    height, width = picture.shape[:2]
    columns = int(np.ceil(np.sqrt(len(sizes) * width / height)))
    rows = -(-len(sizes) // columns)
    cells = rng.permutation(rows * columns)
    for size, cell in zip(sizes, cells.tolist(), strict=False):
        fit = [each for each in heads if size <= LARGEST * each.shape[0]]
        sprite = fit[rng.integers(len(fit))]
        angle = rng.choice([-1, 1]) * rng.uniform(tilt / 2, tilt)
        sprite = _turned(cv2.resize(sprite, (max(round(size * sprite.shape[1] / sprite.shape[0]), 1), size),
                                    interpolation=cv2.INTER_AREA), angle)  # fmt: skip
        high, wide = sprite.shape[:2]
        left = int((cell % columns + 0.5) * width / columns - wide / 2 + rng.integers(-8, 9))
        top = int((cell // columns + 0.5) * height / rows - high / 2 + rng.integers(-8, 9))
        left, top = np.clip(left, 0, width - wide), np.clip(top, 0, height - high)
        part = picture[top : top + high, left : left + wide]
        weight = sprite[..., 3:] / 255
        part[:] = np.round(sprite[..., :3] * weight + part * (1 - weight))
        rows_of, columns_of = np.nonzero(sprite[..., 3] > 127)
        boxes.append((float(left + columns_of.min()), float(top + rows_of.min()),
                      float(np.ptp(columns_of) + 1), float(np.ptp(rows_of) + 1)))  # fmt: skip
    return Crowd(picture, boxes)


def lying(photo: Crowd) -> Crowd:
    """Turn a photo on its side, against the clock."""
    width = photo.picture.shape[1]
    boxes = [(y, width - x - w, h, w) for x, y, w, h in photo.boxes]
    return Crowd(np.ascontiguousarray(np.rot90(photo.picture)), boxes)


def _turned(sprite: Picture, angle: float) -> Picture:
    if not angle:
        return sprite
    high, wide = sprite.shape[:2]
    side = int(np.ceil(np.hypot(high, wide)))
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), angle, 1)
    turn[:, 2] += (side - wide) / 2, (side - high) / 2
    return np.asarray(cv2.warpAffine(sprite, turn, (side, side), flags=cv2.INTER_LINEAR), np.uint8)
