"""The photos that a measurement is made on, and how they are dealt."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

from landmarks.common import parallel  # noqa: E402 - needs the path
from landmarks.dataset import near_duplicates, splitting  # noqa: E402 - needs the path
from landmarks.images import decoding, perceptual_hash  # noqa: E402 - needs the path

DUPLICATE_BITS = 40


def listed(source: Path | None, per_class: int) -> tuple[list[Path], NDArray[np.str_]]:
    """Paths and landmarks of the photos."""
    if source is None:
        rows = pd.read_csv(ROOT / "data/photos.csv", dtype=str)
        rows["file"] = [str(ROOT / "data/anonymous" / f"{photo}.jpg") for photo in rows["id"]]
        rows = rows[[Path(file).exists() for file in rows["file"]]]
    elif source.is_dir():
        files = sorted(path for path in source.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        rows = pd.DataFrame({"file": map(str, files), "landmark_id": [path.parent.name for path in files]})
    else:
        rows = pd.read_csv(source, dtype=str)
        rows["file"] = [str(source.parent / file) for file in rows["file"]]
    rows = rows.sort_values("file").groupby("landmark_id").head(per_class)
    return [Path(file) for file in rows["file"]], rows["landmark_id"].to_numpy(np.str_)


def grouped(paths: list[Path]) -> NDArray[np.int64]:
    """The group of each photo: near-duplicates have one number."""
    hashes = parallel.sound(parallel.each(hashed, paths, "near-duplicates"))
    named = dict(zip(map(str, paths), hashes, strict=True))
    return near_duplicates.groups(near_duplicates.parsed(ROOT, named), DUPLICATE_BITS)


def dealt(
    paths: list[Path],
    landmarks: NDArray[np.str_],
    groups: NDArray[np.int64],
    seeds: int,
    test: float,
    validation: float,
) -> Iterator[NDArray[np.str_]]:
    """Train, validation or test of each photo, a seed at a time: stratified, near-duplicates on one side."""
    for seed in range(seeds):
        yield np.array(
            splitting.split(
                [path.name for path in paths], list(landmarks), groups, test=test, validation=validation, seed=seed
            )
        )


def hashed(path: Path) -> str:
    """What a photo looks like from afar."""
    return perceptual_hash.perceptual_hash(decoding.read(path, long_side=256))
