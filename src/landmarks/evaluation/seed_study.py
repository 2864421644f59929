"""The same experiment with other seeds: mean and spread of its accuracies."""

import pandas as pd

COLUMNS = ("model", "seed", "components", "validation", "test")  # the last two: top-1 accuracy


def summary(rows: pd.DataFrame, components: int) -> pd.DataFrame:
    """Mean and sample standard deviation of the test accuracy over seeds, of runs with so many principal ``components``.

    A row a model, in the order of ``rows`` (``COLUMNS``): ``mean``, ``sd`` (NaN of one run) and ``count``.
    """
    chosen = rows[rows["components"] == components].groupby("model", sort=False)["test"]
    return pd.DataFrame({"mean": chosen.mean(), "sd": chosen.std(ddof=1), "count": chosen.size()})
