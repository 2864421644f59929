"""Clips: a frame a second, as a network sees it, and what most frames of a while show."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2

from landmarks.common.errors import InputError
from landmarks.images import decoding

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong with a clip is told once, by its name
ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
HEAD = 12  # bytes that tell a container; FFmpeg would go by content, too, and follow a playlist to other files
BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # what an MP4 begins with, or an old MOV
RATE = 25  # frames a second of a container that has neither times nor a rate


def frames(path: Path, side: int, crop: bool) -> Iterator[tuple[int, decoding.Picture]]:
    """The first frame of every second of a clip: the second, and uint8 RGB (side, side, 3) as ``photos.fit`` has it.

    All frames are decoded, one at a time is in memory. The turn that a phone notes is applied.

    Raises ``InputError`` if the file is not there, is no clip or has no frame.
    """
    clip, due, number = _open(path), 0, 0
    try:
        while clip.grab():
            stamp = clip.get(cv2.CAP_PROP_POS_MSEC)
            at = stamp / 1000 if stamp > 0 else number / (clip.get(cv2.CAP_PROP_FPS) or RATE)
            number += 1
            if at < due:
                continue
            read, picture = clip.retrieve()
            if read:
                yield int(at), decoding.fit(picture, side, crop)
                due = int(at) + 1
    finally:
        clip.release()
    if not due:
        raise InputError("damaged: no frame can be read")


def length(path: Path) -> float:
    """Seconds that a clip says it lasts, sound and all; 0 if it says nothing. Raises ``InputError`` as ``frames``."""
    clip = _open(path)
    try:
        rate = clip.get(cv2.CAP_PROP_FPS)
        return max(clip.get(cv2.CAP_PROP_FRAME_COUNT) / rate, 0.0) if rate > 0 else 0.0
    finally:
        clip.release()


def _open(path: Path) -> cv2.VideoCapture:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except FileNotFoundError:
        raise InputError("no such file") from None
    except OSError as error:
        raise InputError(error.strerror or "cannot be read") from None
    if not (head[4:8] in BOXES or head[:4] == b"\x1a\x45\xdf\xa3" or (head[:4] == b"RIFF" and head[8:] == b"AVI ")):
        raise InputError(f"not a clip: {', '.join(ENDINGS)} are read")
    name = str(path.resolve())
    try:
        name.encode()
    except UnicodeEncodeError:  # OpenCV would crash
        raise InputError("its name is not UTF-8: rename it") from None
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    clip = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    if not clip.isOpened():
        raise InputError("the clip does not open: it is damaged, or has no picture")
    if clip.get(cv2.CAP_PROP_FRAME_WIDTH) * clip.get(cv2.CAP_PROP_FRAME_HEIGHT) > decoding.MAX_PIXELS:
        clip.release()
        raise InputError("too large")
    return clip


def majority(labels: Sequence[str], confidences: Sequence[float], window: int) -> list[str]:
    """For each frame what the ``window`` frames around it show most often; of equals, what they are surest of together."""
    before, after = (window - 1) // 2, window // 2
    said = []
    for place in range(len(labels)):
        near = slice(max(place - before, 0), place + after + 1)
        votes, sure = Counter(labels[near]), dict.fromkeys(labels[near], 0.0)
        for label, confidence in zip(labels[near], confidences[near], strict=True):
            sure[label] += confidence
        said.append(max(votes, key=lambda label: (votes[label], sure[label])))
    return said
