"""Pictures where people would rather look: drawn without a display, the same bytes every time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from landmarks.common.files import whole
from landmarks.images import decoding

Picture = NDArray[np.uint8]

PARTS = {"train": "#b7c4d1", "validation": "#6d8fb3", "test": "#1f4e79"}  # told apart in grey, too
EXAMPLES = 3  # photos in the before-and-after figure, as in the thesis


def save(path: Path, figure: Figure, dpi: int = 110) -> None:
    """Write a PNG, whole or not at all, the same bytes every time."""
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=dpi, metadata={"Software": f"matplotlib {matplotlib.__version__}"})


def _show(axes: Any, picture: Picture, title: str) -> None:
    axes.imshow(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    axes.set_title(title, fontsize=9)
    axes.axis("off")


def _cells(rows: int, columns: int, wide: float, high: float) -> tuple[Figure, Any]:
    """A figure and its cells (rows, columns), ``wide`` by ``high`` inches each, without axes."""
    figure = Figure(figsize=(wide * columns, high * rows), layout="constrained")
    cells = figure.subplots(rows, columns, squeeze=False)
    for cell in cells.flat:
        cell.axis("off")
    return figure, cells


def before_and_after(
    path: Path,
    pictures: Iterable[Picture],
    detect: Callable[[Picture], list[Any]],
    obscure: Callable[[Picture, list[Any]], Picture],
) -> None:
    """The photos with the largest faces, untouched and obscured (the thesis' figures 15 to 20)."""
    examples = [(picture, detect(picture)) for picture in pictures]
    shown = sorted(
        examples, key=lambda example: -max((face.h / example[0].shape[0] for face in example[1]), default=0)
    )[:EXAMPLES]
    figure = Figure(figsize=(9, 3.2 * max(len(shown), 1)), layout="constrained")
    grid = figure.subplots(max(len(shown), 1), 2, squeeze=False)
    for row, (picture, found) in zip(grid, shown, strict=False):
        _show(row[0], picture, f"a made photo, before: {len(found)} face{'s' * (len(found) > 1)} found")
        _show(row[1], obscure(picture, found), "after")
    save(path, figure, dpi=75)


def least_certain(path: Path, folder: Path, passed: dict[str, Any], count: int = 24, side: int = 96) -> None:
    """The faces with the lowest scores, for a person to look over: as they were obscured, never as they were."""
    known = [(face["score"], photo, face) for photo, record in passed.items() for face in record["faces"]]
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    figure.suptitle("No face was found" if not known else "The least certain faces, obscured: score and photo")
    for place, (score, photo, face) in enumerate(sorted(known, key=lambda one: one[:2])[:count]):
        picture = decoding.read(folder / f"{photo}.jpg")
        wide, high = face["w"], face["h"]
        top, left = max(face["y"] - high, 0), max(face["x"] - wide, 0)
        crop = picture[top : face["y"] + 2 * high, left : face["x"] + 2 * wide]
        if crop.size:
            crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
            _show(figure.add_subplot(4, 6, place + 1), crop, f"{score:.2f} {photo[:12]}")
    save(path, figure, dpi=75)


def keypoints_and_matches(
    path: Path, pair: list[Picture], points: list[NDArray[np.float32]], itself: Any, other: Any, detector: str
) -> None:
    """Keypoints of a photo, its matches with itself and with another of the same place (the thesis' figures 7, 10, 11).

    ``points`` are those of the two photos as in ``features.Row``, ``itself`` and ``other`` ``matching.Matches``.
    """
    drawn = [_keypoints(*each) for each in zip(points, pair, strict=True)]
    rich = cv2.drawKeypoints(pair[0], drawn[0], None, (0, 255, 255), cv2.DRAW_MATCHES_FLAGS_DRAW_RICH_KEYPOINTS)
    figure = Figure(figsize=(9, 10), layout="constrained")
    rows = figure.subplots(3, 1)
    _show(rows[0], rich, f"{len(drawn[0])} strongest {detector.upper()} keypoints")
    for axes, title, shown, keypoints, found in (
        (rows[1], "with itself", [pair[0]] * 2, [drawn[0]] * 2, itself),
        (rows[2], "with another photo of the same place", pair, drawn, other),
    ):
        agreed = f"{len(found.pairs)} matches pass the ratio test, {found.inliers.sum()} of them one homography (green)"
        _show(axes, _lines(shown, keypoints, found), f"{title}: {agreed}")
    save(path, figure, dpi=75)


def _keypoints(points: NDArray[np.float32], picture: Picture) -> list[Any]:
    side = max(picture.shape[:2])
    return [cv2.KeyPoint(x * side, y * side, size * side, angle) for x, y, size, angle in points.tolist()]


def _lines(pictures: list[Picture], keypoints: list[list[Any]], found: Any) -> Picture:
    """Both photos side by side, a line a match: red, and over that green where it is an inlier."""
    canvas: Any = None
    flags = cv2.DRAW_MATCHES_FLAGS_NOT_DRAW_SINGLE_POINTS
    for colour, kept in (((60, 60, 230), ~found.inliers), ((0, 220, 0), found.inliers)):
        drawn = [cv2.DMatch(int(i), int(j), 0.0) for i, j in found.pairs[kept]]
        canvas = cv2.drawMatches(
            pictures[0], keypoints[0], pictures[1], keypoints[1], drawn, canvas, matchColor=colour, flags=flags
        )
        flags |= cv2.DRAW_MATCHES_FLAGS_DRAW_OVER_OUTIMG
    return canvas


def retrieval(path: Path, rows: list[tuple[Picture, list[tuple[Picture, bool, int]]]]) -> None:
    """Queries and the training photos nearest to each: ``(query, [(photo, of the same place?, inliers)])``, nearest first."""
    widest = max(len(found) for _, found in rows)
    figure, cells = _cells(len(rows), widest + 1, 1.6, 1.6)
    for axes, (query, found) in zip(cells, rows, strict=True):
        _show(axes[0], query, "query")
        for cell, (picture, same, inliers) in zip(axes[1:], found, strict=False):
            _show(cell, picture, f"{'same place' if same else 'another'}, {inliers}")
            cell.title.set_color("#1b6e1b" if same else "#b00020")
    figure.suptitle(
        "Nearest training photos, and how many keypoints agree with the query on one homography", fontsize=10
    )
    save(path, figure, dpi=75)


def grid(path: Path, scores: Any) -> None:
    """Cross-validated accuracy of each combination: a table of features, encoding, kind and validation as a map."""
    kinds = list(dict.fromkeys(scores["kind"]))
    rows = list(dict.fromkeys(zip(scores["features"], scores["encoding"], strict=True)))
    values = scores["validation"].to_numpy().reshape(len(rows), len(kinds))
    figure = Figure(figsize=(2.5 + len(kinds), 1.2 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        weight = "bold" if value == values.max() else "normal"
        axes.text(
            column, row, f"{value:.2f}", ha="center", va="center", color="w" if value > 0.6 else "k", weight=weight
        )
    axes.set_xticks(range(len(kinds)), kinds)
    axes.set_yticks(range(len(rows)), [" ".join(row) for row in rows])
    axes.set_title("Accuracy, cross-validated on the training photos", fontsize=10)
    save(path, figure)


def occlusions(path: Path, shown: list[tuple[Picture, NDArray[np.float32], str]]) -> None:
    """Photos (RGB) beside what covering each patch takes from the probability of their landmark, and that probability."""
    columns = min(5, len(shown))
    figure, cells = _cells(-(-len(shown) // columns), 2 * columns, 1.6, 1.8)
    for photo, covered, (picture, drops, title) in zip(cells.flat[::2], cells.flat[1::2], shown, strict=False):
        _show(photo, picture[..., ::-1], title)
        covered.imshow(picture)
        extent = (0, picture.shape[1], picture.shape[0], 0)
        covered.imshow(drops, cmap="inferno", alpha=0.6, extent=extent, vmin=0, interpolation="bilinear")
        covered.set_title(f"falls by {max(drops.max(), 0):.2f}", fontsize=9)
    figure.suptitle(
        "Test photos, the probability of their landmark, and where covering a patch lowers it most", fontsize=10
    )
    save(path, figure, dpi=75)


def reliability(path: Path, bins: dict[str, NDArray[np.float64]], errors: dict[str, float]) -> None:
    """Accuracy against confidence on the test photos, by model: ``calibration.reliability`` and its ``expected_error``."""
    columns = min(4, len(bins))
    rows = -(-len(bins) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.7 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.ravel()[len(bins) :]:
        axes.axis("off")
    for axes, (name, made) in zip(grid.flat, bins.items(), strict=False):
        counts, confidence, accuracy = made.T
        axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.8, linestyle="--")
        axes.scatter(confidence, accuracy, s=10 + 400 * counts / counts.sum(), color=PARTS["test"], alpha=0.8)
        axes.set(xlim=(0, 1), ylim=(-0.05, 1.05), title=f"{name}: error {errors[name]:.3f}")
        axes.title.set_size(10)
    figure.supxlabel("confidence", fontsize=9)
    figure.supylabel("accuracy", fontsize=9)
    save(path, figure)


def rejection(
    path: Path,
    known: NDArray[np.float64],
    right: NDArray[np.bool_],
    unknown: NDArray[np.float64],
    least: float,
    risks: NDArray[np.float64],
) -> None:
    """Confidence in photos of known places, (n,), right or not, and of others, (m,); risk by coverage, (n, 2)."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, beside = figure.subplots(1, 2)
    groups = {"known, right": known[right], "known, wrong": known[~right], "unknown": unknown}
    colours = (PARTS["test"], PARTS["train"], "#c96b2c")
    left.hist(list(groups.values()), bins=20, range=(0, 1), stacked=True, color=colours, label=list(groups))
    left.axvline(least, color="black", linewidth=1, linestyle="--", label=f"threshold {least:.2f}")
    left.set(xlabel="confidence", ylabel="photos")
    left.legend(fontsize=8)
    beside.plot(*risks.T, color=PARTS["test"])
    beside.set(
        xlabel="coverage: share of test photos answered",
        ylabel="risk: share of answers wrong",
        xlim=(0, 1),
        ylim=(0, None),
    )
    save(path, figure)


def mistakes(path: Path, folder: Path, wrong: dict[str, list[tuple[str, str, str, float]]], shown: int = 6) -> None:
    """The photos of ``folder`` that each model got most surely wrong: by model ``(id, actual, predicted, confidence)``."""
    figure, cells = _cells(len(wrong), shown, 1.67, 1.6)
    for axes, (name, rows) in zip(cells, wrong.items(), strict=True):
        axes[0].text(-0.1, 0.5, name, rotation=90, ha="right", va="center", transform=axes[0].transAxes, fontsize=9)
        for cell, (photo, actual, predicted, confidence) in zip(axes, rows, strict=False):
            _show(
                cell, decoding.read(folder / f"{photo}.jpg", 192), f"{actual[:9]} as {predicted[:9]}, {confidence:.2f}"
            )
            cell.title.set_size(7)
        if not rows:
            axes[0].text(0.5, 0.5, "none", ha="center", va="center", fontsize=9)
    figure.suptitle("Test photos most surely wrong: landmark, taken for, confidence", fontsize=10)
    save(path, figure, dpi=75)


def accuracies(path: Path, models: dict[str, Any], title: str) -> None:
    """Top-1 accuracy of every model on every part, with 95 % intervals."""
    figure = Figure(figsize=(1.5 + 1.25 * len(models), 4), layout="constrained")
    axes = figure.subplots()
    for offset, (part, colour) in enumerate(PARTS.items()):
        scores = [model[part] for model in models.values()]
        tops = [score["top1"] for score in scores]
        reach = [[s["top1"] - s["top1_low"] for s in scores], [s["top1_high"] - s["top1"] for s in scores]]
        places = np.arange(len(models)) + (offset - 1) * 0.27
        axes.bar(places, tops, 0.25, label=part, color=colour, yerr=np.maximum(reach, 0), ecolor="#444444", capsize=2)
        if part == "test":
            for place, score in zip(places, scores, strict=True):
                axes.annotate(
                    f"{score['top1']:.2f}",
                    (place, score["top1_high"]),
                    (0, 2),
                    textcoords="offset points",
                    ha="center",
                    fontsize=8,
                )
    classes = len(next(iter(models.values()))["per_class"])
    axes.axhline(1 / classes, color="#888888", linewidth=0.8, linestyle="--", label="chance")
    axes.set(ylim=(0, 1.2), ylabel="top-1 accuracy", title=f"{classes} landmarks{': ' * bool(title)}{title}")
    axes.set_xticks(range(len(models)), list(models))
    axes.legend(ncols=4, fontsize=8, loc="upper center")
    axes.spines[["top", "right"]].set_visible(False)
    save(path, figure)
