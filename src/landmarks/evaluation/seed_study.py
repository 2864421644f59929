"""The same experiment with other seeds: how far its accuracies scatter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from landmarks.reporting import plots

COLUMNS = ("model", "seed", "components", "validation", "test")  # the last two: top-1 accuracy


def summary(rows: pd.DataFrame, components: int) -> pd.DataFrame:
    """Mean and sample standard deviation of the test accuracy over seeds, a row a model, in the order of ``rows``.

    Args:
        rows: with ``COLUMNS``.
        components: the runs to take, those with that many principal components.

    Returns:
        ``mean``, ``sd`` (NaN of one run) and ``count`` by ``model``.
    """
    chosen = rows[rows["components"] == components].groupby("model", sort=False)["test"]
    return pd.DataFrame({"mean": chosen.mean(), "sd": chosen.std(ddof=1), "count": chosen.size()})


def draw(path: Path, rows: pd.DataFrame, components: int, of: str) -> None:
    """Write a PNG: mean and band of one standard deviation, by principal components and by model; ``of`` says of what."""
    figure = Figure(figsize=(9.5, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    varied = [
        name for name, runs in rows.groupby("model", sort=False) if runs.groupby("seed")["test"].nunique().max() > 1
    ]
    for name, line in zip(varied, ("-", "--", "-.", ":"), strict=False):
        runs = rows[rows["model"] == name].groupby("components")["test"]
        mean, sd = runs.mean(), runs.std(ddof=1).fillna(0)
        (drawn,) = left.plot(mean.index, mean, line, marker="o", label=name)
        left.fill_between(mean.index, mean - sd, mean + sd, color=drawn.get_color(), alpha=0.2, linewidth=0)
    left.set(xlabel="principal components", ylabel="test accuracy", ylim=(0, None))
    if varied:
        left.legend()
    found = summary(rows, components)
    places = np.arange(len(found))[::-1]
    right.errorbar(found["mean"], places, xerr=found["sd"].fillna(0), fmt="o", capsize=4, color=plots.PARTS["test"])
    right.set_yticks(places, list(found.index))
    right.set(xlabel=f"test accuracy, {components} components", xlim=(0, 1.02))
    right.grid(axis="x", alpha=0.3)
    figure.suptitle(f"{of}: mean and standard deviation over {rows['seed'].nunique()} seeds")
    plots.save(path, figure)
