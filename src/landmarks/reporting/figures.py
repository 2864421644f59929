"""Matplotlib figures: drawn without a display, saved as PNG files of the same bytes every time."""

from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from landmarks.common.files import whole

matplotlib.rcParams["text.parse_math"] = False  # two $ in a title or the name of a landmark are text, not a formula
Picture = NDArray[np.uint8]  # (height, width, 3), BGR

PARTS = {"train": "#b7c4d1", "validation": "#6d8fb3", "test": "#1f4e79"}  # distinguishable in greyscale, too
RIGHT, WRONG = "#0072b2", "#d55e00"  # blue and vermilion: nobody with colour blindness takes one for the other
DOTS = 110  # an inch; pictures are at most 6.3 inches wide, so that a diff has two of them side by side on a laptop
WIDE = 6.3


def save(path: Path, figure: Figure, dpi: int = DOTS) -> None:
    """Write ``figure`` as a PNG file, atomically, the same bytes every time."""
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=dpi, metadata={"Software": f"matplotlib {matplotlib.__version__}"})


def show(axes: Any, picture: Picture, title: str) -> None:
    """Draw a photo on ``axes``, its title above it, without ticks."""
    axes.imshow(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    axes.set_title(title, fontsize=9)
    axes.axis("off")


def canvas(wide: float, high: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure, ``wide`` by ``high`` inches, and its axes, as ``Figure.subplots`` gives them."""
    figure = Figure(figsize=(wide, high), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def cells(rows: int, columns: int, wide: float, high: float) -> tuple[Figure, Any]:
    """A figure and its axes (rows, columns), ``wide`` by ``high`` inches each, without ticks."""
    figure, grid = canvas(wide * columns, high * rows, rows, columns, squeeze=False)
    for cell in grid.flat:
        cell.axis("off")
    return figure, grid
