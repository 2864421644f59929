"""Describe the photos by their keypoints."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import stage
from landmarks import contracts, descriptors, figures, photos, tables, work


def main(
    listing: Annotated[Path, typer.Argument(help="CSV of the download stage: id, landmark_id")],
    anonymous: Annotated[Path, typer.Argument(help="Folder of the anonymize stage")],
    features: Annotated[
        Path, typer.Argument(help=".npz to write: ids, landmarks, values (one row a photo), keypoints")
    ],
    figure: Annotated[
        Path, typer.Argument(help="PNG to write: keypoints, matches of a photo with itself and with another")
    ],
    detector: Annotated[descriptors.Detector, typer.Option(help="Kind of keypoint")] = "kaze",
    count: Annotated[int, typer.Option(min=1, help="Strongest keypoints kept of a photo")] = 32,
    long_side: Annotated[
        int, typer.Option(min=32, help="Photos are shrunk to this many pixels first (KAZE: 500 MB a megapixel)")
    ] = 512,
    protocol: Annotated[descriptors.Protocol, typer.Option(help="joint, or the thesis' detect-then-compute")] = "joint",
) -> None:
    """Detect keypoints, keep the strongest by response and flatten their descriptors to one row a photo."""
    landmarks = tables.read(listing, ["id", "landmark_id"]).set_index("id")["landmark_id"]
    ids = photos.listed(anonymous, landmarks.index)
    describe = partial(descriptors.describe, detector=detector, keypoints=count, protocol=protocol)
    values, found = [], []
    row = partial(_row, folder=anonymous, describe=describe, long_side=long_side, count=count)
    for flat, number in work.sound(work.each(row, ids, f"keypoints {detector}")):
        values.append(flat)
        found.append(number)
    made = descriptors.Features(np.array(ids), landmarks[ids].to_numpy(np.str_), np.stack(values), np.array(found))
    descriptors.save(features, made)
    pair = _pair(made)
    pictures = [photos.read(anonymous / f"{photo}.jpg", long_side) for photo in pair]
    figures.keypoints_and_matches(figure, pictures, [describe(picture) for picture in pictures], detector)


def _row(photo: str, folder: Path, describe: Any, long_side: int, count: int) -> tuple[Any, int]:
    points, values = describe(photos.read(folder / f"{photo}.jpg", long_side))
    return descriptors.flatten(values, count), len(points)


def _pair(features: descriptors.Features) -> list[str]:
    """Two photos of one place: of the first landmark, the first that have all their keypoints."""
    first = features.landmarks == min(features.landmarks, key=contracts.natural)
    order = np.argsort(-features.keypoints[first], kind="stable")
    return list(features.ids[first][order][:2])


if __name__ == "__main__":
    stage.run(main)
