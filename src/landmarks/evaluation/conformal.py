"""Conformal prediction sets: as many landmarks as it takes for the right one to be among them as often as asked."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from landmarks.evaluation import open_set

COVERED = 0.9

Probabilities = NDArray[np.floating[Any]]


def least(right: NDArray[np.floating[Any]], covered: float = COVERED) -> float:
    """The probability that a landmark needs to be in the set of a photo, 4 digits.

    Split conformal prediction with the probability of the right landmark as score (Sadinle, Lei and Wasserman, 2019), given that
    of validation photos, ``right`` (n,): that of a new photo reaches it with a chance of at least ``covered``, if that photo is
    exchangeable with these.
    """
    return open_set.threshold(right, covered)


def sets(probabilities: Probabilities, least: float) -> NDArray[np.bool_]:
    """Which landmarks are in the set of each photo, (n, landmarks). The most probable always is: no set is empty."""
    chosen = probabilities >= least
    chosen[np.arange(len(chosen)), probabilities.argmax(axis=1)] = True
    return chosen
