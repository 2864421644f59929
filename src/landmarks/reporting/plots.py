"""Charts of the results: accuracies, calibration, rejection, the grid, and the study over seeds."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from landmarks.evaluation import seed_study
from landmarks.reporting.figures import PARTS, canvas, save

UNKNOWN = "#c96b2c"


def accuracies(path: Path, models: dict[str, Any], title: str) -> None:
    """Top-1 accuracy of every model on every part, with 95 % intervals; ``models`` as the evaluate stage writes them."""
    figure, axes = canvas(1.5 + 1.25 * len(models), 4)
    for offset, (part, colour) in enumerate(PARTS.items()):
        scores = [model[part] for model in models.values()]
        tops = [score["top1"] for score in scores]
        reach = [[s["top1"] - s["top1_low"] for s in scores], [s["top1_high"] - s["top1"] for s in scores]]
        places = np.arange(len(models)) + (offset - 1) * 0.27
        axes.bar(places, tops, 0.25, label=part, color=colour, yerr=np.maximum(reach, 0), ecolor="#444444", capsize=2)
        for place, score in zip(places, scores, strict=True) if part == "test" else ():
            where, label = (place, score["top1_high"]), f"{score['top1']:.2f}"
            axes.annotate(label, where, (0, 2), textcoords="offset points", ha="center", fontsize=8)
    classes = len(next(iter(models.values()))["per_class"])
    axes.axhline(1 / classes, color="#888888", linewidth=0.8, linestyle="--", label="chance")
    axes.set(ylim=(0, 1.2), ylabel="top-1 accuracy", title=f"{classes} landmarks{': ' * bool(title)}{title}")
    axes.set_xticks(range(len(models)), list(models))
    axes.legend(ncols=4, fontsize=8, loc="upper center")
    axes.spines[["top", "right"]].set_visible(False)
    save(path, figure)


def reliability(path: Path, bins: dict[str, NDArray[np.float64]], errors: dict[str, float]) -> None:
    """Accuracy against confidence on the test photos, by model: ``calibration.reliability`` and its ``expected_error``."""
    columns = min(4, len(bins))
    rows = -(-len(bins) // columns)
    figure, cells = canvas(2.6 * columns, 2.7 * rows, rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in cells.ravel()[len(bins) :]:
        axes.axis("off")
    for axes, (name, values) in zip(cells.flat, bins.items(), strict=False):
        counts, confidence, accuracy = values.T
        axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.8, linestyle="--")
        axes.scatter(confidence, accuracy, s=10 + 400 * counts / counts.sum(), color=PARTS["test"], alpha=0.8)
        axes.set(xlim=(0, 1), ylim=(-0.05, 1.05), title=f"{name}: error {errors[name]:.3f}")
        axes.title.set_size(10)
    figure.supxlabel("confidence", fontsize=9)
    figure.supylabel("accuracy", fontsize=9)
    save(path, figure)


def rejection(path: Path, confidences: pd.DataFrame, threshold: float, curve: pd.DataFrame) -> None:
    """Confidence on photos of known and unknown landmarks, and ``curve``: ``risk`` by ``coverage``.

    ``confidences`` has a row a photo: ``answer`` (right, wrong, or unknown for a photo of another landmark) and ``confidence``.
    """
    figure, (left, right) = canvas(8, 3.2, columns=2)
    groups = {"known, right": "right", "known, wrong": "wrong", "unknown": "unknown"}
    values = [confidences["confidence"][confidences["answer"] == answer].to_numpy() for answer in groups.values()]
    colours = (PARTS["test"], PARTS["train"], UNKNOWN)
    left.hist(values, bins=20, range=(0, 1), stacked=True, color=colours, label=list(groups))
    left.axvline(threshold, color="black", linewidth=1, linestyle="--", label=f"threshold {threshold:.2f}")
    left.set(xlabel="confidence", ylabel="photos")
    left.legend(fontsize=8)
    right.plot(curve["coverage"], curve["risk"], color=PARTS["test"])
    right.set(xlabel="coverage: share of test photos answered", ylabel="risk: share of answers wrong")
    right.set(xlim=(0, 1), ylim=(0, None))
    save(path, figure)


def grid(path: Path, scores: pd.DataFrame) -> None:
    """Cross-validated accuracy of each combination as a map; ``scores``: features, encoding, kind and validation."""
    kinds = list(dict.fromkeys(scores["kind"]))
    rows = list(dict.fromkeys(zip(scores["features"], scores["encoding"], strict=True)))
    values = scores["validation"].to_numpy().reshape(len(rows), len(kinds))
    figure, axes = canvas(2.5 + len(kinds), 1.2 + 0.3 * len(rows))
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour, weight = "w" if value > 0.6 else "k", "bold" if value == values.max() else "normal"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, weight=weight)
    axes.set_xticks(range(len(kinds)), kinds)
    axes.set_yticks(range(len(rows)), [" ".join(row) for row in rows])
    axes.set_title("Accuracy, cross-validated on the training photos", fontsize=10)
    save(path, figure)


def over_seeds(path: Path, rows: pd.DataFrame, components: int, title: str) -> None:
    """Mean and standard deviation of the test accuracy over seeds, by principal components and by model.

    ``rows`` has ``seed_study.COLUMNS``; the models are compared in the runs with that many ``components``.
    """
    figure, (left, right) = canvas(9.5, 4, columns=2)
    different = rows.groupby(["model", "seed"], sort=False)["test"].nunique().groupby("model", sort=False).max()
    varied = list(different.index[different > 1])
    for name, line in zip(varied, ("-", "--", "-.", ":"), strict=False):
        runs = rows[rows["model"] == name].groupby("components")["test"]
        mean, sd = runs.mean(), runs.std(ddof=1).fillna(0)
        (drawn,) = left.plot(mean.index, mean, line, marker="o", label=name)
        left.fill_between(mean.index, mean - sd, mean + sd, color=drawn.get_color(), alpha=0.2, linewidth=0)
    left.set(xlabel="principal components", ylabel="test accuracy", ylim=(0, None))
    if varied:
        left.legend()
    summary = seed_study.summary(rows, components)
    places = np.arange(len(summary))[::-1]
    right.errorbar(summary["mean"], places, xerr=summary["sd"].fillna(0), fmt="o", capsize=4, color=PARTS["test"])
    right.set_yticks(places, list(summary.index))
    right.set(xlabel=f"test accuracy, {components} components", xlim=(0, 1.02))
    right.grid(axis="x", alpha=0.3)
    figure.suptitle(f"{title}: mean and standard deviation over {rows['seed'].nunique()} seeds")
    save(path, figure)
