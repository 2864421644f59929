"""Charts of the results: accuracies, calibration, rejection, the grid, and the study over seeds."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from landmarks.evaluation import seed_study
from landmarks.evaluation.results import ModelScores
from landmarks.reporting.figures import PARTS, RIGHT, WIDE, WRONG, canvas, save, shortened

ANSWERS = {"right": ("known, right", RIGHT), "wrong": ("known, wrong", WRONG), "unknown": ("unknown", "#767676")}
NAME = 16  # letters of a model's name
STYLES = ("o-", "s--", "^-.", "v:", "D-", "P--", "X-.", "*:")  # told apart without colours, too
UNITS = {
    "jpeg": "JPEG, quality", "blur": "blur, ‰ of the side", "turn": "turn, degrees", "crop": "crop, share kept",
    "darkness": "darkness, stops",
}  # fmt: skip


def accuracies(path: Path, models: Mapping[str, ModelScores], photos: Mapping[str, int], title: str) -> None:
    """Top-1 accuracy of every model on every part, with 95 % intervals; ``photos`` has how many there are in each part."""
    figure, axes = canvas(WIDE, 1.1 + 0.55 * len(models))
    for offset, (part, colour) in enumerate(PARTS.items()):
        scores = [getattr(model, part) for model in models.values()]
        places, ends = np.arange(len(models)) + (offset - 1) * 0.27, [[s.top1_low, s.top1_high] for s in scores]
        axes.barh(places, [s.top1 for s in scores], 0.25, color=colour, label=f"{part}, n = {photos[part]}")
        for wide, line in ((3.5, "white"), (1.3, "black")):  # black would be lost on dark bars
            axes.hlines(places, *np.transpose(ends), color=line, linewidth=wide, zorder=3)
    beside = {"x": 1.02, "va": "center", "fontsize": 8}
    axes.text(y=-0.75, s=f"test [95 %, n = {photos['test']}]", weight="bold", **beside)
    for place, score in enumerate(model.test for model in models.values()):
        axes.text(y=place, s=f"{score.top1:.3f} [{score.top1_low:.3f}, {score.top1_high:.3f}]", **beside)
    classes = len(next(iter(models.values())).per_class)
    axes.axvline(1 / classes, color="#555555", linewidth=0.8, linestyle="--", label="chance")
    axes.set(xlim=(0, 1), ylim=(len(models) - 0.5, -0.5), xlabel="top-1 accuracy, black: 95 % interval")
    axes.set_yticks(range(len(models)), list(shortened(models, NAME).values()))
    figure.suptitle(f"{classes} landmarks{': ' * bool(title)}{title}", fontsize=11)
    figure.legend(ncols=4, fontsize=8, loc="outside lower center", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save(path, figure)


def reliability(path: Path, bins: dict[str, NDArray[np.float64]], errors: dict[str, float]) -> None:
    """Accuracy against confidence on the test photos, by model: ``calibration.reliability`` and its ``expected_error``."""
    columns = min(3, len(bins))
    rows = -(-len(bins) // columns)
    figure, cells = canvas(WIDE, 0.5 + 2.1 * rows, rows, columns, squeeze=False)
    for axes in cells.ravel()[len(bins) :]:
        axes.axis("off")
    labels = shortened(bins, NAME)
    for axes, (name, values) in zip(cells.flat, bins.items(), strict=False):
        counts, confidence, accuracy = values.T
        axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.8, linestyle="--")
        sizes = 10 + 250 * counts / counts.sum()
        axes.scatter(confidence, accuracy, s=sizes, color=PARTS["test"], alpha=0.8, clip_on=False, zorder=3)
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
        axes.tick_params(labelsize=8)
        axes.set_title(f"{labels[name]}: ECE {errors[name]:.3f}", fontsize=9, pad=9)
    photos = int(next(iter(bins.values()))[:, 0].sum())
    figure.suptitle(f"{photos} test photos in ten bins of confidence; area of a dot: photos in its bin", fontsize=10)
    figure.supxlabel("confidence (ECE: expected calibration error)", fontsize=9)
    figure.supylabel("accuracy", fontsize=9)
    save(path, figure)


def rejection(path: Path, confidences: pd.DataFrame, threshold: float, curve: pd.DataFrame) -> None:
    """Confidence on photos of known and unknown landmarks, and ``curve``: ``risk`` by ``coverage``.

    ``confidences`` has a row a photo: ``answer`` (right, wrong, or unknown for a photo of another landmark) and
    ``confidence``. Each kind of answer has a histogram of its own, so that a few wrong ones are seen beside many right ones.
    """
    figure = Figure(figsize=(WIDE, 3.8), layout="constrained")
    drawn = figure.subplot_mosaic([[answer, "curve"] for answer in ANSWERS])
    for answer, (label, colour) in ANSWERS.items():
        axes, values = drawn[answer], confidences["confidence"][confidences["answer"] == answer].to_numpy()
        axes.hist(values, bins=20, range=(0, 1), color=colour)
        axes.axvline(threshold, color="black", linewidth=1, linestyle="--")
        accepted = f"{label}: {(values >= threshold).sum()} of {len(values)} accepted"
        axes.set_title(accepted, fontsize=9, loc="left")
        axes.set(xlim=(0, 1), ylim=(0, max(axes.get_ylim()[1], 1)), ylabel="photos")
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.tick_params(labelsize=8)
    axes.set_xlabel(f"confidence; dashed: the threshold, {threshold:.2f}")
    risk = drawn["curve"]
    risk.plot(curve["coverage"], curve["risk"], color=PARTS["test"])
    risk.set_title("photos of known landmarks", fontsize=9, loc="left")
    risk.set(xlabel="coverage: share answered", ylabel="risk: share of answers wrong")
    risk.tick_params(labelsize=8)
    risk.set(xlim=(0, 1), ylim=(0, max(curve["risk"].max() * 1.1, 0.01)))
    figure.suptitle("Open-set rejection: no answer below a threshold of confidence", fontsize=11)
    save(path, figure)


def grid(path: Path, scores: pd.DataFrame, photos: int, folds: int) -> None:
    """Cross-validated accuracy of each combination as a map, of so many training ``photos`` in so many ``folds``.

    ``scores`` has features, encoding, kind and validation.
    """
    kinds = list(dict.fromkeys(scores["kind"]))
    rows = list(dict.fromkeys(zip(scores["features"], scores["encoding"], strict=True)))
    values = scores["validation"].to_numpy().reshape(len(rows), len(kinds))
    figure, axes = canvas(WIDE, 1.2 + 0.3 * len(rows))
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour, weight = "w" if value > 0.6 else "k", "bold" if value == values.max() else "normal"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, weight=weight, fontsize=9)
    axes.set_xticks(range(len(kinds)), kinds)
    names = [" ".join(row) for row in rows]
    axes.set_yticks(range(len(rows)), list(shortened(names, 2 * NAME).values()))
    axes.set_title(f"Accuracy, cross-validated: n = {photos} training photos, {folds} folds", fontsize=10)
    save(path, figure)


def learning_curve(path: Path, rows: pd.DataFrame, photos: int) -> None:
    """Mean accuracy of each model on so many validation ``photos`` against training photos a landmark; band: standard deviation.

    ``rows`` has model, photos (a landmark), draw and accuracy.
    """
    figure, axes = canvas(WIDE, 4)
    for (name, label), style in zip(shortened(dict.fromkeys(rows["model"]), NAME).items(), cycle(STYLES)):
        runs = rows[rows["model"] == name].groupby("photos")["accuracy"]
        mean, sd = runs.mean(), runs.std(ddof=1).fillna(0)
        (drawn,) = axes.plot(mean.index, mean, style, label=label, markersize=4)
        axes.fill_between(mean.index, mean - sd, mean + sd, color=drawn.get_color(), alpha=0.15, linewidth=0)
    sizes = sorted(set(rows["photos"]))
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.minorticks_off()
    axes.set(ylim=(0, 1.02), xlabel="training photos a landmark; the last: all", ylabel="validation accuracy")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=8, loc="outside right center", frameon=False)
    figure.suptitle(f"n = {photos} validation photos; band: standard deviation over random subsets", fontsize=10)
    save(path, figure)


def robustness(path: Path, rows: pd.DataFrame) -> None:
    """Accuracy of each model against the strength of each kind of disturbance, the undisturbed photos first.

    ``rows`` has model, kind (``none`` for the photos as they are), strength, photos and accuracy.
    """
    kinds = [kind for kind in dict.fromkeys(rows["kind"]) if kind != "none"]
    labels = shortened(dict.fromkeys(rows["model"]), NAME)
    figure, grid = canvas(WIDE, 0.9 + 1.8 * -(-len(kinds) // 3), -(-len(kinds) // 3), 3, sharey=True, squeeze=False)
    for axes, kind in zip(grid.flat, kinds, strict=False):
        shown = rows[rows["kind"].isin(["none", kind])]
        strengths = [f"{value:g}" for value in dict.fromkeys(shown[shown["kind"] == kind]["strength"])]
        for name, style in zip(labels, cycle(STYLES)):
            accuracy = shown[shown["model"] == name]["accuracy"]
            axes.plot(range(len(accuracy)), accuracy, style, label=labels[name], markersize=4)
        axes.set_xticks(range(len(strengths) + 1), ["none", *strengths], fontsize=8)
        axes.set_title(UNITS.get(kind, kind), fontsize=9)
        axes.set_ylim(0, 1.04)
        axes.spines[["top", "right"]].set_visible(False)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, ncols=5, fontsize=8, loc="outside lower center", frameon=False)
    figure.suptitle(f"Accuracy on {rows['photos'].iloc[0]} test photos, disturbed", fontsize=10)
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
