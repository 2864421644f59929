"""The same experiment with other seeds, and with other photos: mean and spread of its accuracies, and what two models differ by.

A run has a ``seed`` (another split, other folds, weights) and a ``sample`` (sample.seed: other photos drawn from the catalogue). One
of the two is varied at a time, the other stays that of the first row. Standard deviations are of the sample (ddof 1). The test sets
of the seeds overlap, so no interval follows from them alone; those of other samples overlap where the catalogue is small.
"""

import itertools
from typing import Literal

import pandas as pd

from landmarks.evaluation.significance import corrected, holm

COLUMNS = ("model", "seed", "sample", "components", "validation", "test")  # the last two: top-1 accuracy
Axis = Literal["seed", "sample"]


def along(rows: pd.DataFrame, components: int, axis: Axis) -> pd.DataFrame:
    """The runs with so many principal ``components`` that differ from the first row in ``axis`` alone."""
    fixed: Axis = "sample" if axis == "seed" else "seed"
    return rows[(rows["components"] == components) & (rows[fixed] == rows[fixed].iloc[0])]


def summary(rows: pd.DataFrame, components: int, axis: Axis = "seed") -> pd.DataFrame:
    """Mean and sample standard deviation of the test accuracy ``along`` an axis.

    A row a model, in the order of ``rows`` (``COLUMNS``): ``mean``, ``sd`` (NaN of one run) and ``count``.
    """
    chosen = along(rows, components, axis).groupby("model", sort=False)["test"]
    return pd.DataFrame({"mean": chosen.mean(), "sd": chosen.std(ddof=1), "count": chosen.size()})


def paired(rows: pd.DataFrame, components: int, ratio: float) -> pd.DataFrame:
    """Each model against the one of the highest mean test accuracy over seeds, in runs with so many principal ``components``.

    A row for each other model: ``difference``, ``reach`` and ``p`` of ``corrected``, and ``p_holm``, corrected for all pairs of
    models: the best one was not known beforehand. ``ratio`` is that of test to training photos.
    """
    table = along(rows, components, "seed").pivot(index="seed", columns="model", values="test")
    best = str(table.mean().idxmax())
    others = [model for model in dict.fromkeys(rows["model"]) if model != best]
    found = [corrected(list(table[model] - table[best]), ratio) for model in others]
    rest = [corrected(list(table[one] - table[other]), ratio).p for one, other in itertools.combinations(others, 2)]
    result = pd.DataFrame(found, index=pd.Index(others, name=f"against {best}")).rename(columns={"mean": "difference"})
    return result.assign(p_holm=holm([*(difference.p for difference in found), *rest])[: len(found)])
