"""How far an accuracy may lie off when photos are no independent draws: near-duplicates are right or wrong together."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000
BLOCK = 100  # resamples that memory holds at once


def over_groups(right: NDArray[np.bool_], groups: ArrayLike) -> tuple[float, float]:
    """The 95 % percentile interval of the share of ``right`` (n,), its ``groups`` (n,) drawn with replacement, each whole.

    The cluster bootstrap (Davison and Hinkley, 1997). Where all are right, or none is, it has no width: Wilson's has.
    """
    place = np.unique(groups, return_inverse=True)[1]
    sizes, hits = np.bincount(place), np.bincount(place, weights=right)
    rng, shares = np.random.default_rng(0), []
    for _ in range(RESAMPLES // BLOCK):
        drawn = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), BLOCK)
        shares.append((drawn @ hits) / (drawn @ sizes))
    low, high = np.quantile(np.concatenate(shares), [0.025, 0.975])
    return float(low), float(high)
