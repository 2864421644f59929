"""Whether two models differ by more than chance."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

SAME = 1e-9  # accuracies are multiples of one photo: what differs by less is rounded


class Difference(NamedTuple):
    """Mean difference of two accuracies, half the width of its 95 % interval, and the two-sided p that there is none."""

    mean: float
    reach: float
    p: float


def corrected(differences: Sequence[float], ratio: float) -> Difference:
    """The corrected resampled t-test of two models on k splits of the same photos (Nadeau and Bengio, 2003).

    Splits overlap, so the variance of the mean is not 1/k of that of ``differences`` (k,) but 1/k + ``ratio`` of it, where
    ``ratio`` is the number of test photos by that of training photos. Reach and p are NaN where all differences are the same:
    there is no variance to estimate. Raises ``ValueError`` of fewer than two splits.
    """
    values = np.asarray(differences, float)
    if len(values) < 2:
        raise ValueError("two splits are needed to estimate a variance")
    error = float(np.sqrt((1 / len(values) + ratio) * values.var(ddof=1)))
    mean = float(values.mean())
    if np.ptp(values) < SAME:
        return Difference(mean, float("nan"), float("nan"))
    student = stats.t(len(values) - 1)
    return Difference(mean, float(student.ppf(0.975)) * error, float(2 * student.sf(abs(mean) / error)))


def holm(values: Sequence[float]) -> list[float]:
    """The p ``values`` of n comparisons made together, corrected for their number (Holm, 1979), in their order."""
    order = np.argsort(values)
    scaled = np.asarray(values, float)[order] * np.arange(len(order), 0, -1)
    result = np.empty(len(order))
    result[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return result.tolist()
