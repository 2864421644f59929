"""Keypoints and their descriptors, flattened to one row a photo as in the thesis (its figures 7 to 11)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from landmarks.errors import InputError
from landmarks.files import whole

Picture = NDArray[np.uint8]
Detector = Literal["kaze", "orb"]
Protocol = Literal["joint", "thesis"]


@dataclass(frozen=True)
class Features:
    """Flattened descriptors: ``ids`` (n,), ``landmarks`` (n,), ``values`` (n, columns), ``keypoints`` found (n,)."""

    ids: NDArray[np.str_]
    landmarks: NDArray[np.str_]
    values: NDArray[Any]
    keypoints: NDArray[np.int64]


def describe(
    picture: Picture, detector: Detector, keypoints: int, protocol: Protocol
) -> tuple[list[Any], NDArray[Any]]:
    """The strongest keypoints of a photo and their descriptors.

    Args:
        picture: uint8 BGR (height, width, 3).
        detector: ``kaze`` (Alcantarilla et al., 2012; 64 floats) or ``orb`` (Rublee et al., 2011; 32 bytes).
        keypoints: how many, by response.
        protocol: ``thesis`` detects, keeps the strongest, then describes those, which leaves out the multiscale
            derivatives of KAZE; ``joint`` detects and describes in one pass, then keeps the strongest.

    Returns:
        ``cv2.KeyPoint`` (at most ``keypoints``) and float32 or uint8 (as many, columns).
    """
    tool: Any = cv2.KAZE_create() if detector == "kaze" else cv2.ORB_create()
    empty = np.zeros((0, columns(detector)), np.float32 if detector == "kaze" else np.uint8)
    if protocol == "thesis":
        strongest = sorted(tool.detect(picture), key=lambda point: -point.response)[:keypoints]
        points, values = tool.compute(picture, strongest)
        return list(points), empty if values is None else values
    points, values = tool.detectAndCompute(picture, None)
    if values is None:
        return [], empty
    order = np.argsort([-point.response for point in points], kind="stable")[:keypoints]
    return [points[i] for i in order], values[order]


def columns(detector: Detector) -> int:
    """Numbers a descriptor."""
    return 64 if detector == "kaze" else 32


def flatten(values: NDArray[Any], keypoints: int) -> NDArray[Any]:
    """Descriptors one after the other, (keypoints * columns,), zeros where a photo has fewer."""
    row = np.zeros(keypoints * values.shape[1], values.dtype)
    row[: values.size] = values.ravel()
    return row


def save(path: Path, features: Features) -> None:
    """Write an ``.npz`` whose bytes depend on its content alone."""
    with whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **vars(features))


def load(path: Path) -> Features:
    """Read what ``save`` wrote, executing nothing. Raises ``InputError`` if the file is missing or is something else."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Features(**{name: arrays[name] for name in ("ids", "landmarks", "values", "keypoints")})
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: dvc repro keypoints") from None
    except (ValueError, KeyError, EOFError) as error:
        raise InputError(
            f"{path}: not a file of the keypoints stage ({error}); run: dvc repro --force keypoints"
        ) from None


def matches(query: NDArray[Any], train: NDArray[Any]) -> list[Any]:
    """Nearest descriptor in ``train`` for each of ``query``, cross-checked, best first (``cv2.DMatch``)."""
    if not len(query) or not len(train):
        return []
    norm = cv2.NORM_HAMMING if query.dtype == np.uint8 else cv2.NORM_L2
    return sorted(cv2.BFMatcher(norm, crossCheck=True).match(query, train), key=lambda match: match.distance)
