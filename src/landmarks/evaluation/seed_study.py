"""The same experiment with other seeds: mean and spread of its accuracies, and what two models differ by.

Standard deviations are of the sample (ddof 1). The test sets of the seeds overlap, so no interval follows from them alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from landmarks.evaluation import metrics

COLUMNS = ("model", "seed", "components", "validation", "test")  # the last two: top-1 accuracy


class Difference(NamedTuple):
    """Mean difference of two accuracies, half the width of its 95 % interval, and the two-sided p that there is none."""

    mean: float
    reach: float
    p: float


def summary(rows: pd.DataFrame, components: int) -> pd.DataFrame:
    """Mean and sample standard deviation of the test accuracy over seeds, of runs with so many principal ``components``.

    A row a model, in the order of ``rows`` (``COLUMNS``): ``mean``, ``sd`` (NaN of one run) and ``count``.
    """
    chosen = rows[rows["components"] == components].groupby("model", sort=False)["test"]
    return pd.DataFrame({"mean": chosen.mean(), "sd": chosen.std(ddof=1), "count": chosen.size()})


def paired(rows: pd.DataFrame, components: int, ratio: float) -> pd.DataFrame:
    """Each model against the one of the highest mean test accuracy, in runs with so many principal ``components``.

    A row for each other model: ``difference``, ``reach`` and ``p`` of ``corrected``, and ``p_holm``, corrected for the number of
    comparisons. ``ratio`` is that of test to training photos.
    """
    table = rows[rows["components"] == components].pivot(index="seed", columns="model", values="test")
    best = str(table.mean().idxmax())
    others = [model for model in dict.fromkeys(rows["model"]) if model != best]
    found = [corrected(list(table[model] - table[best]), ratio) for model in others]
    result = pd.DataFrame(found, index=pd.Index(others, name=f"against {best}")).rename(columns={"mean": "difference"})
    return result.assign(p_holm=metrics.holm([difference.p for difference in found]))


def corrected(differences: Sequence[float], ratio: float) -> Difference:
    """The corrected resampled t-test of two models on k splits of the same photos (Nadeau and Bengio, 2003).

    Splits overlap, so the variance of the mean is not 1/k of that of ``differences`` (k,) but 1/k + ``ratio`` of it, where
    ``ratio`` is the number of test photos by that of training photos. Raises ``ValueError`` of fewer than two splits.
    """
    values = np.asarray(differences, float)
    if len(values) < 2:
        raise ValueError("two splits are needed to estimate a variance")
    error = float(np.sqrt((1 / len(values) + ratio) * values.var(ddof=1)))
    mean = float(values.mean())
    if not error:
        return Difference(mean, 0.0, 0.0 if mean else 1.0)
    student = stats.t(len(values) - 1)
    return Difference(mean, float(student.ppf(0.975)) * error, float(2 * student.sf(abs(mean) / error)))
