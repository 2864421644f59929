"""Video clips: one frame a second as a network takes it, and a majority vote over neighbouring frames."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from landmarks.common.errors import InputError
from landmarks.images import decoding
from landmarks.images.preprocessing import Preprocessing

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # silent: errors are reported once, with the name of the clip
ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
# The container is checked by its first bytes: FFmpeg also accepts playlists, which could name any file of this machine
HEAD_BYTES = 12
MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # the first box of an MP4 or an old MOV
MATROSKA = b"\x1a\x45\xdf\xa3"
DEFAULT_RATE = 25  # frames a second, if the container has neither time stamps nor a rate


@dataclass(frozen=True)
class Clip:
    """A clip that is open. ``duration`` is that of the container's header, sound included, in seconds; 0: not given."""

    duration: float
    capture: cv2.VideoCapture

    def frames(self, preprocessing: Preprocessing) -> Iterator[tuple[int, decoding.Picture]]:
        """The first frame of every second: the second, and uint8 RGB (views * size, size, 3).

        All frames are decoded, one at a time is in memory; the rotation in the header is applied. A clip is read once.
        Raises ``InputError`` if it has no frame.
        """
        due = number = 0
        while self.capture.grab():
            stamp = self.capture.get(cv2.CAP_PROP_POS_MSEC)
            at = stamp / 1000 if stamp > 0 else number / (self.capture.get(cv2.CAP_PROP_FPS) or DEFAULT_RATE)
            number += 1
            if at < due:
                continue
            decoded, picture = self.capture.retrieve()
            if decoded:
                yield int(at), preprocessing.fit(picture)
                due = int(at) + 1
        if not due:
            raise InputError("damaged: no frame can be read")


@contextlib.contextmanager
def open_clip(path: Path) -> Iterator[Clip]:
    """Open a clip for the block. Raises ``InputError`` if the file is missing, is no clip or has too many pixels."""
    _check_container(path)
    name = str(path.resolve())
    try:
        name.encode()
    except UnicodeEncodeError:  # OpenCV would crash
        raise InputError("its name is not UTF-8: rename it") from None
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise InputError("the clip does not open: it is damaged, or has no picture")
        if capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT) > decoding.MAX_PIXELS:
            raise InputError("too large")
        count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        yield Clip(duration=max(count / rate, 0.0) if rate > 0 else 0.0, capture=capture)
    finally:
        capture.release()


def _check_container(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise InputError("no such file") from None
    except OSError as error:
        raise InputError(error.strerror or "cannot be read") from None
    is_avi = head[:4] == b"RIFF" and head[8:] == b"AVI "
    if not (head[4:8] in MP4_BOXES or head.startswith(MATROSKA) or is_avi):
        raise InputError(f"not a clip: {', '.join(ENDINGS)} are read")


def majority_vote(labels: Sequence[str], confidences: Sequence[float], window: int) -> list[str]:
    """For each frame, the most frequent label of the ``window`` frames around it; of a tie, the one with the highest summed confidence."""
    before, after = (window - 1) // 2, window // 2
    smoothed = []
    for place in range(len(labels)):
        near = slice(max(place - before, 0), place + after + 1)
        votes, summed = Counter(labels[near]), dict.fromkeys(labels[near], 0.0)
        for label, confidence in zip(labels[near], confidences[near], strict=True):
            summed[label] += confidence
        smoothed.append(max(votes, key=lambda label: (votes[label], summed[label])))
    return smoothed
