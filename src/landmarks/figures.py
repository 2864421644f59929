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

from landmarks import descriptors, photos
from landmarks.files import whole

Picture = NDArray[np.uint8]

PARTS = {"train": "#b7c4d1", "validation": "#6d8fb3", "test": "#1f4e79"}  # told apart in grey, too
EXAMPLES = 3  # photos in the before-and-after figure, as in the thesis


def _save(path: Path, figure: Figure, dpi: int = 110) -> None:
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=dpi, metadata={"Software": f"matplotlib {matplotlib.__version__}"})


def _show(axes: Any, picture: Picture, title: str) -> None:
    axes.imshow(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    axes.set_title(title, fontsize=9)
    axes.axis("off")


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
    _save(path, figure, dpi=75)


def least_certain(path: Path, folder: Path, passed: dict[str, Any], count: int = 24, side: int = 96) -> None:
    """The faces with the lowest scores, for a person to look over: as they were obscured, never as they were."""
    known = [(face["score"], photo, face) for photo, record in passed.items() for face in record["faces"]]
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    figure.suptitle("No face was found" if not known else "The least certain faces, obscured: score and photo")
    for place, (score, photo, face) in enumerate(sorted(known, key=lambda one: one[:2])[:count]):
        picture = photos.read(folder / f"{photo}.jpg")
        wide, high = face["w"], face["h"]
        top, left = max(face["y"] - high, 0), max(face["x"] - wide, 0)
        crop = picture[top : face["y"] + 2 * high, left : face["x"] + 2 * wide]
        if crop.size:
            crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
            _show(figure.add_subplot(4, 6, place + 1), crop, f"{score:.2f} {photo[:12]}")
    _save(path, figure, dpi=75)


def keypoints_and_matches(
    path: Path, pair: list[Picture], described: list[tuple[list[Any], Any]], detector: str
) -> None:
    """Keypoints of a photo, its matches with itself and with another of the same place (the thesis' figures 7, 10, 11)."""
    (points, values), (other_points, other_values) = described[0], described[-1]
    rich = cv2.DRAW_MATCHES_FLAGS_DRAW_RICH_KEYPOINTS
    drawn = cv2.drawKeypoints(pair[0], points, None, color=(0, 255, 255), flags=rich)
    itself, other = descriptors.matches(values, values), descriptors.matches(values, other_values)
    figure = Figure(figsize=(9, 10), layout="constrained")
    rows = figure.subplots(3, 1)
    _show(rows[0], drawn, f"{len(points)} strongest {detector.upper()} keypoints")
    lines: dict[str, Any] = {"matchColor": (0, 255, 0), "flags": cv2.DRAW_MATCHES_FLAGS_NOT_DRAW_SINGLE_POINTS}
    _show(
        rows[1],
        cv2.drawMatches(pair[0], points, pair[0], points, itself, None, **lines),
        f"with itself: {len(itself)} matches",
    )
    title = f"with another photo of the same place: {len(other)} matches (mutual nearest neighbours, right or wrong)"
    _show(rows[2], cv2.drawMatches(pair[0], points, pair[-1], other_points, other, None, **lines), title)
    _save(path, figure, dpi=75)


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
    axes.set(ylim=(0, 1.12), ylabel="top-1 accuracy", title=f"{classes} landmarks{': ' * bool(title)}{title}")
    axes.set_xticks(range(len(models)), list(models))
    axes.legend(ncols=4, fontsize=8, loc="upper center")
    axes.spines[["top", "right"]].set_visible(False)
    _save(path, figure)
