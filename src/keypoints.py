"""Describe the photos by their keypoints."""

from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import stage
from landmarks.classical import features_file, local_features, matching, reuse
from landmarks.common import parallel
from landmarks.common.files import sha256, write_json
from landmarks.dataset import schema, tables
from landmarks.images import decoding
from landmarks.reporting import plots

FEW = 32  # keypoints that the thesis laid end to end: with fewer, its row ends in zeros
CANDIDATES = 8  # photos among which the figure looks for two that show the same


def main(
    listing: Annotated[Path, typer.Argument(help="CSV of the download stage: id, landmark_id")],
    anonymous: Annotated[Path, typer.Argument(help="Folder of the anonymize stage")],
    described: Annotated[
        Path, typer.Argument(help="Arrow file to write, a row a photo: id, landmark_id, found, points, values")
    ],
    figure: Annotated[
        Path, typer.Argument(help="PNG to write: keypoints, matches of a photo with itself and with another")
    ],
    counts: Annotated[Path, typer.Argument(help="JSON to write: photos, those without keypoints, those with few")],
    detector: Annotated[local_features.Detector, typer.Option(help="Kind of keypoint")] = "kaze",
    count: Annotated[int, typer.Option(min=1, max=100_000, help="Strongest keypoints kept of a photo")] = 600,
    long_side: Annotated[
        int,
        typer.Option(min=32, max=2048, help="Photos are shrunk to this many pixels first (KAZE: 500 MB a megapixel)"),
    ] = 512,
    protocol: Annotated[
        local_features.Protocol,
        typer.Option(help="joint; upright; or thesis: detect, keep the strongest, then describe"),
    ] = "joint",
) -> None:
    """Detect keypoints, keep the strongest by response and their descriptors.

    A photo described before, to the byte, under the same settings and by the same code, is not described again.
    """
    settings = local_features.Settings(detector, count, long_side, protocol)
    landmarks = tables.read(listing, ["id", "landmark_id"]).set_index("id")["landmark_id"]
    there = decoding.listed(anonymous, landmarks.index)
    ids = [photo for photo in there if landmarks[photo] != schema.UNKNOWN]  # no classical model is asked of the others
    hashes = {photo: sha256(anonymous / f"{photo}.jpg") for photo in ids}
    made_by = reuse.identity(settings, Path(__file__))
    known = reuse.earlier(described, made_by, hashes)
    known = {photo: row._replace(landmark=landmarks[photo]) for photo, row in known.items()}
    fresh = [photo for photo in ids if photo not in known]
    row = partial(_row, folder=anonymous, landmarks=dict(landmarks[fresh]), settings=settings)
    rows = parallel.sound(
        parallel.each(row, fresh, f"keypoints {detector} {protocol}")
    )  # in the order of ids, like fresh
    features_file.write(described, settings, (known.get(photo) or next(rows) for photo in ids))
    reuse.note(described, made_by, hashes)
    print(f"keypoints: {len(fresh)} of {len(ids)} photos described, the others as before")
    made = features_file.read(described)
    few = np.minimum(made.found, count)
    write_json(counts, {
        "photos": len(ids), "mean": round(float(few.mean()), 1),
        "none": int((few == 0).sum()), f"below_{FEW}": int((few < FEW).sum()),
    })  # fmt: skip
    _draw(figure, anonymous, made)


def _row(photo: str, folder: Path, landmarks: dict[str, str], settings: local_features.Settings) -> features_file.Row:
    picture = decoding.read(folder / f"{photo}.jpg", settings.long_side)
    points, values, found = local_features.describe(picture, settings)
    side = max(picture.shape[:2])
    where = [(*(v / side for v in (*point.pt, point.size)), point.angle) for point in points]
    return features_file.Row(photo, landmarks[photo], found, np.array(where, np.float32).reshape(-1, 4), values)


def _draw(figure: Path, folder: Path, made: features_file.Features) -> None:
    """Of the first landmark that has two photos, its first ones: the two that agree best."""
    settings = made.settings
    names, counts = np.unique(made.landmarks, return_counts=True)
    first = min(names[counts > 1] if (counts > 1).any() else names, key=schema.natural)
    candidates = np.flatnonzero(made.landmarks == first)[:CANDIDATES]

    def match(one: int, other: int) -> matching.Matches:
        pair = [one, other]
        return matching.match(tuple(made.points[pair]), tuple(made.values[pair]), settings.detector)

    pairs: list[tuple[int, int]] = list(combinations(candidates.tolist(), 2)) or [(int(candidates[0]),) * 2]
    found = [(match(*pair), pair) for pair in pairs]
    best, (one, other) = max(found, key=lambda each: each[0].inliers.sum())
    pictures = [decoding.read(folder / f"{made.ids[i]}.jpg", settings.long_side) for i in (one, other)]
    plots.keypoints_and_matches(
        figure, pictures, [made.points[one], made.points[other]], match(one, one), best, settings.detector
    )


if __name__ == "__main__":
    stage.run(main)
