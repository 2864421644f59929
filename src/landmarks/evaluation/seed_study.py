"""The same experiment with other seeds: mean and spread of its accuracies, and what two models differ by.

Standard deviations are of the sample (ddof 1). The test sets of the seeds overlap, so no interval follows from them alone.
"""

import itertools

import pandas as pd

from landmarks.evaluation.significance import corrected, holm

COLUMNS = ("model", "seed", "components", "validation", "test")  # the last two: top-1 accuracy


def summary(rows: pd.DataFrame, components: int) -> pd.DataFrame:
    """Mean and sample standard deviation of the test accuracy over seeds, of runs with so many principal ``components``.

    A row a model, in the order of ``rows`` (``COLUMNS``): ``mean``, ``sd`` (NaN of one run) and ``count``.
    """
    chosen = rows[rows["components"] == components].groupby("model", sort=False)["test"]
    return pd.DataFrame({"mean": chosen.mean(), "sd": chosen.std(ddof=1), "count": chosen.size()})


def paired(rows: pd.DataFrame, components: int, ratio: float) -> pd.DataFrame:
    """Each model against the one of the highest mean test accuracy, in runs with so many principal ``components``.

    A row for each other model: ``difference``, ``reach`` and ``p`` of ``corrected``, and ``p_holm``, corrected for all pairs of
    models: the best one was not known beforehand. ``ratio`` is that of test to training photos.
    """
    table = rows[rows["components"] == components].pivot(index="seed", columns="model", values="test")
    best = str(table.mean().idxmax())
    others = [model for model in dict.fromkeys(rows["model"]) if model != best]
    found = [corrected(list(table[model] - table[best]), ratio) for model in others]
    rest = [corrected(list(table[one] - table[other]), ratio).p for one, other in itertools.combinations(others, 2)]
    result = pd.DataFrame(found, index=pd.Index(others, name=f"against {best}")).rename(columns={"mean": "difference"})
    return result.assign(p_holm=holm([*(difference.p for difference in found), *rest])[: len(found)])
