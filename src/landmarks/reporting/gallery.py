"""Pictures of photos: faces before and after, keypoints and matches, retrieval, occlusion maps, confident errors."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from landmarks.images import decoding
from landmarks.reporting.figures import Picture, canvas, cells, save, show

EXAMPLES = 3  # photos in the before-and-after figure, as in the thesis
SIDE = 256  # pixels of the longer side of a photo in the retrieval figure
THUMBNAIL = 192  # the same in the figure of errors


def before_and_after(
    path: Path, pictures: Iterable[Picture], detect: Callable[[Picture], list[Any]],
    obscure: Callable[[Picture, list[Any]], Picture],
) -> None:  # fmt: skip
    """The photos with the largest faces, untouched and obscured (the thesis' figures 15 to 20)."""
    examples = [(picture, detect(picture)) for picture in pictures]
    tallest = [max((face.h / picture.shape[0] for face in faces), default=0) for picture, faces in examples]
    largest = [examples[i] for i in np.argsort(np.negative(tallest), kind="stable")[:EXAMPLES]]
    figure, grid = cells(max(len(largest), 1), 2, 4.5, 3.2)
    for row, (picture, faces) in zip(grid, largest, strict=False):
        show(row[0], picture, f"a synthetic photo, before: {len(faces)} face{'s' * (len(faces) > 1)} found")
        show(row[1], obscure(picture, faces), "after")
    save(path, figure, dpi=75)


def least_certain(path: Path, folder: Path, passed: dict[str, Any]) -> None:
    """The faces with the lowest scores as they look after they were obscured: for a person to check.

    ``folder`` has the anonymized photos; ``passed`` are the ``photos`` of faces.json: by photo, a record with its ``faces``.
    """
    faces = [(face["score"], photo, face) for photo, record in passed.items() for face in record["faces"]]
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    figure.suptitle("No face was found" if not faces else "The least certain faces, obscured: score and photo")
    for place, (score, photo, face) in enumerate(sorted(faces, key=lambda one: one[:2])[:24]):
        picture = decoding.read(folder / f"{photo}.jpg")
        wide, high = face["w"], face["h"]
        top, left = max(face["y"] - high, 0), max(face["x"] - wide, 0)
        crop = picture[top : face["y"] + 2 * high, left : face["x"] + 2 * wide]
        if crop.size:
            crop = cv2.resize(crop, (96, 96), interpolation=cv2.INTER_AREA)
            show(figure.add_subplot(4, 6, place + 1), crop, f"{score:.2f} {photo[:12]}")
    save(path, figure, dpi=75)


def keypoints_and_matches(
    path: Path, pair: list[Picture], points: list[NDArray[np.float32]], itself: Any, other: Any, detector: str
) -> None:
    """Keypoints of a photo, its matches with itself and with another of the same landmark (the thesis' figures 7, 10, 11).

    ``points`` are those of the two photos as in ``features_file.Row``, ``itself`` and ``other`` ``matching.Matches``.
    """
    drawn = [_keypoints(*each) for each in zip(points, pair, strict=True)]
    rich = cv2.drawKeypoints(pair[0], drawn[0], None, (0, 255, 255), cv2.DRAW_MATCHES_FLAGS_DRAW_RICH_KEYPOINTS)
    figure, rows = canvas(9, 10, rows=3)
    show(rows[0], rich, f"{len(drawn[0])} strongest {detector.upper()} keypoints")
    for axes, title, pictures, keypoints, matches in (
        (rows[1], "with itself", [pair[0]] * 2, [drawn[0]] * 2, itself),
        (rows[2], "with another photo of the same place", pair, drawn, other),
    ):
        count, agreeing = len(matches.pairs), matches.inliers.sum()
        agreed = f"{count} matches pass the ratio test, {agreeing} of them one homography (green)"
        show(axes, _lines(pictures, keypoints, matches), f"{title}: {agreed}")
    save(path, figure, dpi=75)


def _keypoints(points: NDArray[np.float32], picture: Picture) -> list[Any]:
    side = max(picture.shape[:2])
    return [cv2.KeyPoint(x * side, y * side, size * side, angle) for x, y, size, angle in points.tolist()]


def _lines(pictures: list[Picture], keypoints: list[list[Any]], matches: Any) -> Picture:
    """Both photos side by side, a line a match: red, and over that green where it is an inlier."""
    drawn: Any = None
    flags = cv2.DRAW_MATCHES_FLAGS_NOT_DRAW_SINGLE_POINTS
    for colour, kept in (((60, 60, 230), ~matches.inliers), ((0, 220, 0), matches.inliers)):
        lines = [cv2.DMatch(int(i), int(j), 0.0) for i, j in matches.pairs[kept]]
        (left, right), (one, other) = pictures, keypoints
        drawn = cv2.drawMatches(left, one, right, other, lines, drawn, matchColor=colour, flags=flags)
        flags |= cv2.DRAW_MATCHES_FLAGS_DRAW_OVER_OUTIMG
    return drawn


def retrieval(path: Path, folder: Path, table: pd.DataFrame) -> None:
    """Queries and the training photos in ``folder`` nearest to each, nearest first.

    ``table`` is that of the retrieve stage, as text: query, photo, same_landmark (true or false), inliers.
    """
    queries = list(table.groupby("query", sort=False))
    figure, grid = cells(len(queries), max(len(rows) for _, rows in queries) + 1, 1.6, 1.6)
    for axes, (query, rows) in zip(grid, queries, strict=True):
        show(axes[0], decoding.read(folder / f"{query}.jpg", SIDE), "query")
        for cell, row in zip(axes[1:], rows.itertuples(), strict=False):
            same = row.same_landmark == "true"
            title = f"{'same place' if same else 'another'}, {row.inliers}"
            show(cell, decoding.read(folder / f"{row.photo}.jpg", SIDE), title)
            cell.title.set_color("#1b6e1b" if same else "#b00020")
    title = "Nearest training photos, and how many keypoints agree with the query on one homography"
    figure.suptitle(title, fontsize=10)
    save(path, figure, dpi=75)


def occlusions(
    path: Path, pictures: NDArray[np.uint8], drops: NDArray[np.float32], labels: Sequence[str], shares: Sequence[float]
) -> None:
    """Photos, RGB (n, size, size, 3), beside how far covering each patch lowers the probability: ``drops``, (n, cells, cells).

    ``labels`` are their landmarks (n,), ``shares`` the probabilities of these in the uncovered photos (n,).
    """
    columns = min(5, len(pictures))
    figure, grid = cells(-(-len(pictures) // columns), 2 * columns, 1.6, 1.8)
    places = zip(grid.flat[::2], grid.flat[1::2], strict=True)
    for (photo, covered), picture, fall, label, share in zip(places, pictures, drops, labels, shares, strict=False):
        show(photo, picture[..., ::-1], f"{label[:12]}: {share:.2f}")
        covered.imshow(picture)
        extent = (0, picture.shape[1], picture.shape[0], 0)
        covered.imshow(fall, cmap="inferno", alpha=0.6, extent=extent, vmin=0, interpolation="bilinear")
        covered.set_title(f"falls by {max(fall.max(), 0):.2f}", fontsize=9)
    title = "Test photos, the probability of their landmark, and where covering a patch lowers it most"
    figure.suptitle(title, fontsize=10)
    save(path, figure, dpi=75)


def mistakes(path: Path, folder: Path, wrong: dict[str, pd.DataFrame]) -> None:
    """The six photos in ``folder`` that each model got wrong with the highest confidence.

    ``wrong`` has, by model: id, actual, predicted, confidence, the most confident first.
    """
    figure, grid = cells(len(wrong), 6, 1.67, 1.6)
    for axes, (name, rows) in zip(grid, wrong.items(), strict=True):
        axes[0].text(-0.1, 0.5, name, rotation=90, ha="right", va="center", transform=axes[0].transAxes, fontsize=9)
        errors = rows[["id", "actual", "predicted", "confidence"]].itertuples(index=False, name=None)
        for cell, (photo, actual, predicted, confidence) in zip(axes, errors, strict=False):
            picture = decoding.read(folder / f"{photo}.jpg", THUMBNAIL)
            show(cell, picture, f"{actual[:9]} as {predicted[:9]}, {confidence:.2f}")
            cell.title.set_size(7)
        if rows.empty:
            axes[0].text(0.5, 0.5, "none", ha="center", va="center", fontsize=9)
    figure.suptitle("Most confident errors on the test photos: landmark, prediction, confidence", fontsize=10)
    save(path, figure, dpi=75)
