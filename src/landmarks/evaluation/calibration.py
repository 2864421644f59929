"""Does a model that says 0.8 err one time in five?"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

BINS = 10
COLDEST, HOTTEST = 0.05, 20.0


def temperature(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> float:
    """What to divide logits (n, classes) by so that their softmax can be taken at its word (Guo et al., 2017).

    It has the lowest cross-entropy with the class ids ``labels`` (n,) of photos that the model was not fitted on, 4 digits;
    1 where there are none. One more photo, of no class in particular, is added: else a model without a mistake on these
    photos would be told that it makes none.
    """
    if not len(labels):
        return 1.0
    count, classes = logits.shape
    targets = np.full((count, classes), 1 / classes / (count + 1))
    targets[np.arange(count), labels] += count / (count + 1)

    def loss(logarithm: float) -> float:
        return float(-(targets * log_softmax(logits / np.exp(logarithm), axis=1)).sum())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return round(float(np.exp(found.x)), 4)


def reliability(confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Photos, mean confidence and accuracy in each of ten bins of confidence, (10, 3); not a number where a bin is empty."""
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(places, weights=values, minlength=BINS) / counts for values in (confidence, right)]
    return np.column_stack([counts, *means])


def expected_error(confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> float:
    """Expected calibration error in ten bins, 0 to 1 (Naeini et al., 2015): how far confidence and accuracy lie apart."""
    bins = reliability(confidence, right)
    return float(np.nansum(bins[:, 0] * np.abs(bins[:, 1] - bins[:, 2])) / len(right))
