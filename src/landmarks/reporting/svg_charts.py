"""Small charts as SVG, legible on a phone: their words are given, the bytes are the same every time."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from landmarks.reporting.figures import canvas
from landmarks.reporting.labels import shortened

STYLES = (("#1f4e79", "-"), ("#b3541e", "--"), ("#7a8da0", ":"), ("#3c7d3c", "-."))  # told apart in grey, too
WIDE, HIGH = 4.2, 2.9  # inches: on a phone's 340 pixels the 9 point letters stay readable


def _svg(figure: Figure) -> bytes:
    made = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "landmarks"}):
        figure.savefig(made, format="svg", metadata={"Date": None})
    return made.getvalue()


def _axes(high: float = HIGH) -> tuple[Figure, Any]:
    figure, axes = canvas(WIDE, high)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes


def lines(x: Sequence[float], series: Mapping[str, Sequence[float]], across: str, up: str) -> bytes:
    """A line for each of ``series``, by label, over ``x``; ``across`` and ``up`` name the axes."""
    figure, axes = _axes()
    for (label, values), (colour, dashes) in zip(series.items(), STYLES, strict=False):
        axes.plot(x, values, color=colour, linestyle=dashes, linewidth=1.6, label=label)
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False)
    return _svg(figure)


def intervals(scores: Mapping[str, tuple[float, float, float]], chance: float, across: str, chance_label: str) -> bytes:
    """A dot with its interval, (low, value, high) from 0 to 1, for each label, the first on top; a dashed line at ``chance``."""
    figure, axes = _axes(0.7 + 0.27 * len(scores))
    for place, (low, value, high) in enumerate(scores.values()):
        axes.plot([low, high], [place, place], color=STYLES[0][0], linewidth=2, alpha=0.55)
        axes.plot(value, place, "o", color=STYLES[0][0], markersize=5)
        at, style = (value, place), {"ha": "center", "va": "bottom", "fontsize": 7}
        axes.annotate(f"{value:.2f}", at, (0, 4), textcoords="offset points", **style)
    axes.axvline(chance, color="#555555", linewidth=0.8, linestyle="--")
    axes.annotate(chance_label, (chance, -1), (3, 0), textcoords="offset points", va="top", fontsize=8, color="#444444")
    labels = [label.replace("$", r"\$") for label in shortened(scores, 16).values()]
    axes.set_yticks(range(len(scores)), labels, fontsize=8)
    axes.set(xlim=(0, 1.04), ylim=(len(scores) - 0.5, -1))
    axes.set_xlabel(across, fontsize=9)
    return _svg(figure)


def shade(share: float) -> tuple[str, str]:
    """Background and text colour of a cell with a value from 0 to 1, their contrast at least 4.5 : 1."""
    full = (0x1F, 0x4E, 0x79)
    mixed = [round(255 + (channel - 255) * share) for channel in full]
    return "#" + "".join(f"{channel:02x}" for channel in mixed), "#000000" if share < 0.75 else "#ffffff"
