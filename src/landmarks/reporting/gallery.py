"""Pictures of photos: faces before and after, keypoints and matches, retrieval, occlusion maps, confident errors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from landmarks.images import decoding
from landmarks.images.photo_store import PhotoStore
from landmarks.reporting.figures import RIGHT, WIDE, WRONG, Picture, canvas, cells, save, show
from landmarks.reporting.labels import shortened

EXAMPLES = 2  # photos whose faces are found in the before-and-after figure; one more misses some
SURE = 0.6  # score of a face that is certainly one, in the photos of that figure
ASKEW = (45, 135, 225, 315)  # degrees by which they are turned, until a face is missed
SHEET, SUSPECTS = 6, 3  # columns and rows of the sheet of suspected labels
ERRORS = 5  # photos of each model in the figure of errors
DRAWN = 60  # keypoints with their size, and matches of two photos: more hide one another
Row = tuple[str, Picture, list[Any], list[Any]]  # of the faces figure: title, photo, found, missed
YELLOW = (0, 255, 255)
SIDE = 256  # pixels of the longer side of a photo in the figures of retrieval and of errors


def before_and_after(
    path: Path, pictures: Iterable[Picture], detect: Callable[[Picture], list[Any]],
    methods: Mapping[str, Callable[[Picture, list[Any]], Picture]],
) -> None:  # fmt: skip
    """The photos with the surest faces, untouched and obscured by each method (the thesis' figures 15 to 20), and one that misses a face.

    That one is a photo of these, turned askew: a face found with a score of ``SURE`` or more is there, whatever is found
    after the turn. ``detect`` returns faces as ``redaction.Face`` has them.
    """
    found = [(picture, faces) for picture in pictures if (faces := detect(picture))]
    ranked = sorted(found, key=lambda example: -max(face.score for face in example[1]))
    rows: list[Row] = [(_found(faces), picture, faces, []) for picture, faces in ranked[:EXAMPLES]]
    missed_one = _missed(ranked[::-1], detect)
    rows += [missed_one] if missed_one else []
    figure, grid = cells(max(len(rows), 1), 1 + len(methods), WIDE / (1 + len(methods)), 1.8)
    for axes, (title, picture, faces, missed) in zip(grid[: len(rows)], rows, strict=True):
        near = _around([*faces, *missed], picture)
        show(axes[0], _marked(picture, faces, missed)[near], title)
        for cell, (name, obscure) in zip(axes[1:], methods.items(), strict=True):
            show(
                cell,
                _marked(obscure(picture, faces), [], missed)[near],
                f"{name}{': still readable' if missed else ''}",
            )
    if not missed_one:
        askew = ", ".join(map(str, ASKEW))
        figure.supxlabel(f"of {len(found)} such photos no face was missed, turned by {askew}° either", fontsize=8)
    save(path, figure)


def _found(faces: list[Any]) -> str:
    surest = max(face.score for face in faces)
    return f"{len(faces)} face{'s' * (len(faces) > 1)}, the surest {surest:.2f}"


def _missed(examples: list[tuple[Picture, list[Any]]], detect: Callable[[Picture], list[Any]]) -> Row | None:
    """The first turn of a photo in which a sure face is missed, if there is one."""
    for degrees, (picture, faces) in product(ASKEW, examples):
        turned, turn = _turned(picture, degrees)
        seen = detect(turned)
        sure = [replace(face, **_moved(face, turn)) for face in faces if face.score >= SURE]
        if missed := [face for face in sure if not any(_covers(other, face) for other in seen)]:
            return f"turned by {degrees}°: {len(missed)} missed", turned, seen, missed
    return None


def _turned(picture: Picture, degrees: int) -> tuple[Picture, NDArray[np.float64]]:
    """The photo turned anticlockwise, none of it cut off, and the affine map (2, 3) of its pixels."""
    high, wide = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), degrees, 1)
    size = np.abs(turn[:, :2]) @ (wide, high)
    turn[:, 2] += (size - (wide, high)) / 2
    across, up = map(int, size)
    return cv2.warpAffine(picture, turn, (across, up), borderValue=(128, 128, 128)), turn


def _moved(face: Any, turn: NDArray[np.float64]) -> dict[str, int]:
    """The place of a face after a turn: its middle moves, its box stays upright."""
    x, y = turn @ (face.x + face.w / 2, face.y + face.h / 2, 1)
    return {"x": round(x - face.w / 2), "y": round(y - face.h / 2)}


def _covers(found: Any, face: Any) -> bool:
    """Whether the middle of ``face`` lies in the box of ``found``."""
    x, y = face.x + face.w / 2, face.y + face.h / 2
    return bool(found.x <= x <= found.x + found.w and found.y <= y <= found.y + found.h)


def _around(faces: list[Any], picture: Picture) -> tuple[slice, slice]:
    """Rows and columns of the part of the photo, 3 wide by 2 high where it is that large, in which the faces lie."""
    if not faces:
        return slice(None), slice(None)
    low = np.min([(face.y, face.x) for face in faces], axis=0)
    high = np.max([(face.y + face.h, face.x + face.w) for face in faces], axis=0)
    room = 2 * max(max(face.w, face.h) for face in faces)
    tall = max(high[0] - low[0] + 2 * room, (high[1] - low[1] + 2 * room) / 1.5)
    half, middle = np.array([tall, 1.5 * tall]) / 2, (low + high) / 2
    first = np.maximum(middle - half, 0).astype(int)
    last = np.minimum(middle + half, picture.shape[:2]).astype(int)
    return slice(first[0], last[0]), slice(first[1], last[1])


def _marked(picture: Picture, found: list[Any], missed: list[Any]) -> Picture:
    """The photo with a blue box around each face that was found, an orange circle around each that was missed."""
    drawn, wide = picture.copy(), max(max(picture.shape) // 400, 1)
    for face in found:
        cv2.rectangle(drawn, (face.x, face.y), (face.x + face.w, face.y + face.h), (255, 90, 0), wide)
    for face in missed:
        cv2.circle(drawn, (face.x + face.w // 2, face.y + face.h // 2), max(face.w, face.h), (0, 140, 255), wide)
    return drawn


def least_certain(path: Path, folder: Path, passed: dict[str, Any]) -> None:
    """The faces with the lowest scores as they look after they were obscured: for a person to check.

    ``folder`` has the anonymized photos; ``passed`` are the ``photos`` of faces.json: by photo, a record with its ``faces``.
    """
    faces = [(face["score"], photo, face) for photo, record in passed.items() for face in record["faces"]]
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    figure.suptitle("No face was found" if not faces else "The least certain faces, obscured: score and photo")
    shown, store = sorted(faces, key=lambda one: one[:2])[:24], PhotoStore(folder)
    names = shortened([photo for _, photo, _ in shown], 12)
    for place, (score, photo, face) in enumerate(shown):
        picture = decoding.read(store[photo])
        wide, high = face["w"], face["h"]
        top, left = max(face["y"] - high, 0), max(face["x"] - wide, 0)
        crop = picture[top : face["y"] + 2 * high, left : face["x"] + 2 * wide]
        if crop.size:
            crop = cv2.resize(crop, (96, 96), interpolation=cv2.INTER_AREA)
            show(figure.add_subplot(4, 6, place + 1), crop, f"{score:.2f} {names[photo]}")
    save(path, figure, dpi=75)


def keypoints_and_matches(
    path: Path,
    pair: list[Picture],
    points: list[NDArray[np.float32]],
    itself: Any,
    other: Any,
    detector: str,
    asked: int,
) -> None:
    """Keypoints of a photo, its matches with itself and with another of the same landmark (the thesis' figures 7, 10, 11).

    ``points`` are those of the two photos as in ``features_file.Row``, at most ``asked`` each; ``itself`` and ``other`` are
    ``matching.Matches``.
    """
    drawn = [_keypoints(*each) for each in zip(points, pair, strict=True)]
    dots = cv2.drawKeypoints(pair[0], drawn[0], None, YELLOW)
    sizes = cv2.drawKeypoints(dots, drawn[0][:DRAWN], None, YELLOW, cv2.DRAW_MATCHES_FLAGS_DRAW_RICH_KEYPOINTS)
    figure, rows = canvas(9, 10, rows=3)
    count = f"{len(drawn[0])} {detector.upper()} keypoints, {asked} asked for"
    show(rows[0], sizes, f"{count}; with its size: each of the {min(DRAWN, len(drawn[0]))} strongest")
    for axes, title, pictures, keypoints, matches in (
        (rows[1], "with itself", [pair[0]] * 2, [drawn[0]] * 2, itself),
        (rows[2], "with another photo of the same place", pair, drawn, other),
    ):
        total = len(matches.pairs)
        agreed = f"{total} matches ({min(total, DRAWN)} drawn), {matches.inliers.sum()} agree on one homography: blue"
        show(axes, _lines(pictures, keypoints, matches), f"{title}: {agreed}")
    save(path, figure, dpi=75)


def _keypoints(points: NDArray[np.float32], picture: Picture) -> list[Any]:
    side = max(picture.shape[:2])
    return [cv2.KeyPoint(x * side, y * side, size * side, angle) for x, y, size, angle in points.tolist()]


def _lines(pictures: list[Picture], keypoints: list[list[Any]], matches: Any) -> Picture:
    """Both photos side by side, a line for each of ``DRAWN``: orange, and over that blue where it is an inlier."""
    drawn: Any = None
    flags = cv2.DRAW_MATCHES_FLAGS_NOT_DRAW_SINGLE_POINTS
    chosen = np.zeros(len(matches.pairs), bool)
    chosen[np.linspace(0, len(chosen) - 1, min(DRAWN, len(chosen))).astype(int)] = True
    for colour, kept in (((0, 140, 255), ~matches.inliers), ((255, 90, 0), matches.inliers)):
        lines = [cv2.DMatch(int(i), int(j), 0.0) for i, j in matches.pairs[chosen & kept]]
        (left, right), (one, other) = pictures, keypoints
        drawn = cv2.drawMatches(left, one, right, other, lines, drawn, matchColor=colour, flags=flags)
        flags |= cv2.DRAW_MATCHES_FLAGS_DRAW_OVER_OUTIMG
    return drawn


def retrieval(path: Path, folder: Path, table: pd.DataFrame) -> None:
    """Queries and the training photos in ``folder`` nearest to each, nearest first.

    ``table`` is that of the retrieve stage, as text: query, photo, same_landmark (true or false), inliers.
    """
    queries, store = list(table.groupby("query", sort=False)), PhotoStore(folder)
    figure, grid = cells(len(queries), max(len(rows) for _, rows in queries) + 1, 1.55, 1.6)
    for axes, (query, rows) in zip(grid, queries, strict=True):
        show(axes[0], decoding.read(store[str(query)], SIDE), "query")
        for cell, row in zip(axes[1:], rows.itertuples(), strict=False):
            same = row.same_landmark == "true"
            title = f"{'same place' if same else 'another'}, {row.inliers}"
            show(cell, decoding.read(store[str(row.photo)], SIDE), title)
            cell.title.set_color(RIGHT if same else WRONG)
    title = "Nearest training photos, and how many keypoints agree with the query on one homography"
    figure.suptitle(title, fontsize=10)
    save(path, figure, dpi=75)


def occlusions(
    path: Path, pictures: NDArray[np.uint8], drops: NDArray[np.float32], labels: Sequence[str], shares: Sequence[float]
) -> None:
    """Photos, RGB (n, size, size, 3), beside how far covering each patch lowers the probability: ``drops``, (n, cells, cells).

    ``labels`` are their landmarks (n,), ``shares`` the probabilities of these in the uncovered photos (n,).
    """
    names = shortened(labels, 12)
    columns = min(3, len(pictures))
    figure, grid = cells(-(-len(pictures) // columns), 2 * columns, 1.55, 1.8)
    places = zip(grid.flat[::2], grid.flat[1::2], strict=True)
    for (photo, covered), picture, fall, label, share in zip(places, pictures, drops, labels, shares, strict=False):
        show(photo, picture[..., ::-1], f"{names[label]}: {share:.2f}")
        covered.imshow(picture)
        extent = (0, picture.shape[1], picture.shape[0], 0)
        covered.imshow(fall, cmap="inferno", alpha=0.6, extent=extent, vmin=0, interpolation="bilinear")
        covered.set_title(f"falls by {max(fall.max(), 0):.2f}", fontsize=9)
    title = "Test photos, the probability of their landmark, and where covering a patch lowers it most"
    figure.suptitle(title, fontsize=10)
    save(path, figure, dpi=75)


def mistakes(path: Path, folder: Path, wrong: dict[str, pd.DataFrame]) -> None:
    """The photos in ``folder`` that each model got wrong with the highest confidence; a model without an error has no row.

    ``wrong`` has, by model: id, actual, predicted, confidence, the most confident first.
    """
    store = PhotoStore(folder)
    shown = {name: rows.head(ERRORS) for name, rows in wrong.items() if len(rows)}
    landmarks = shortened([name for rows in shown.values() for name in (*rows["actual"], *rows["predicted"])], 15)
    figure, grid = cells(max(len(shown), 1), ERRORS, WIDE / ERRORS, 1.45)
    for axes, (name, label) in zip(grid, shortened(shown, 16).items(), strict=False):
        axes[0].text(-0.1, 0.5, label, rotation=90, ha="right", va="center", transform=axes[0].transAxes, fontsize=9)
        errors = shown[name][["id", "actual", "predicted", "confidence"]].itertuples(index=False, name=None)
        for cell, (photo, actual, predicted, confidence) in zip(axes, errors, strict=False):
            picture = decoding.read(store[photo], SIDE)
            show(cell, picture, f"{landmarks[actual]}\nas {landmarks[predicted]}\n{confidence:.2f}")
            cell.title.set_size(7.5)
    faultless = [name for name in wrong if name not in shown]
    none = f"\nwithout an error: {', '.join(shortened(faultless, 16).values())}" if faultless else ""
    figure.suptitle(f"Most confident errors on the test photos: landmark, prediction, confidence{none}", fontsize=10)
    save(path, figure)


def suspects(path: Path, folder: Path, rows: pd.DataFrame) -> None:
    """A contact sheet of the photos in ``folder`` whose label is suspected: the first of ``rows``, which have ``label_issues.COLUMNS``."""
    shown, store = rows.head(SHEET * SUSPECTS), PhotoStore(folder)
    landmarks = shortened([*shown["actual"], *shown["predicted"]], 13)
    figure, grid = cells(max(-(-len(shown) // SHEET), 1), SHEET, WIDE / SHEET, 1.5)
    told = shown[["id", "actual", "predicted", "confidence"]].itertuples(index=False, name=None)
    for cell, (photo, actual, predicted, confidence) in zip(grid.flat, told, strict=False):
        title = f"{landmarks[actual]}\n{landmarks[predicted]}?\n{float(confidence):.2f}"
        show(cell, decoding.read(store[photo], SIDE), title)
        cell.title.set_size(7.5)
    among = f", the first {len(shown)}" if len(shown) < len(rows) else ""
    figure.suptitle(
        f"{len(rows)} training photos of suspected labels{among}: label; what it may be, probability", fontsize=10
    )
    save(path, figure)
