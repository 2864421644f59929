"""How far an accuracy may lie off when photos are no independent draws: near-duplicates are right or wrong together."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000
BLOCK = 100  # resamples that memory holds at once


def over_groups(right: NDArray[np.bool_], groups: ArrayLike) -> NDArray[np.float64]:
    """The 95 % percentile interval of the share of ``right``, its ``groups`` (n,) drawn with replacement, each whole.

    ``right`` is (n,), or (n, models), which are all asked the same draws; low and high come as (2,) or (2, models). The cluster
    bootstrap (Davison and Hinkley, 1997). Where all are right, or none is, it has no width: Wilson's has.
    """
    place = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(place)
    hits = np.zeros((len(sizes), *right.shape[1:]))
    np.add.at(hits, place, right)
    rng, shares = np.random.default_rng(0), []
    for _ in range(RESAMPLES // BLOCK):
        drawn = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), BLOCK)
        shares.append(((drawn @ hits).T / (drawn @ sizes)).T)
    return np.asarray(np.quantile(np.concatenate(shares), [0.025, 0.975], axis=0))
