"""What happens to photos between a camera and a model: pure functions of a picture and a strength."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from landmarks.images.decoding import Picture

GAMMA = 2.2  # what a doubling of light does to the values of a JPEG: roughly sRGB's


def jpeg(picture: Picture, quality: float) -> Picture:
    """Compressed as JPEG, ``quality`` from 1 to 100."""
    content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, round(quality)])[1]
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)


def blur(picture: Picture, spread: float) -> Picture:
    """Out of focus: a Gaussian whose standard deviation is ``spread`` thousandths of the longer side."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(picture.shape) * spread / 1000), np.uint8)


def turn(picture: Picture, degrees: float) -> Picture:
    """Taken with a tilted camera: turned against the clock, and cut to the largest upright rectangle without an empty corner."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    across, down = inner_rectangle(width, height, degrees)
    matrix[:, 2] += (across - width) / 2, (down - height) / 2
    return np.asarray(cv2.warpAffine(picture, matrix, (across, down), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def inner_rectangle(width: int, height: int, degrees: float) -> tuple[int, int]:
    """Width and height, pixels, of the largest upright rectangle inside a turned one."""
    sine, cosine = abs(np.sin(np.deg2rad(degrees))), abs(np.cos(np.deg2rad(degrees)))
    longer, shorter = max(width, height), min(width, height)
    if shorter <= 2 * sine * cosine * longer or abs(sine - cosine) < 1e-9:  # two of its corners lie on the longer sides
        sides = [shorter / 2 / sine, shorter / 2 / cosine]
        across, down = sides if width >= height else sides[::-1]
    else:
        square = cosine**2 - sine**2
        across, down = (width * cosine - height * sine) / square, (height * cosine - width * sine) / square
    return max(int(across + 1e-6), 1), max(int(down + 1e-6), 1)


def crop(picture: Picture, kept: float) -> Picture:
    """Taken from nearer: the middle, ``kept`` of each side."""
    height, width = (max(round(side * kept), 1) for side in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width].copy()


def mirror(picture: Picture, _: Any = None) -> Picture:
    """Left and right exchanged."""
    return picture[:, ::-1].copy()


def darkness(picture: Picture, stops: float) -> Picture:
    """Exposed ``stops`` too short: each halves the light."""
    return np.asarray(cv2.LUT(picture, np.round(np.arange(256) * 2 ** (-stops / GAMMA)).astype(np.uint8)), np.uint8)


KINDS: dict[str, Callable[[Picture, float], Picture]] = {
    "jpeg": jpeg, "blur": blur, "turn": turn, "crop": crop, "mirror": mirror, "darkness": darkness,
}  # fmt: skip
