"""Does a model that says 0.8 err one time in five?"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

BINS = 10
COLDEST, HOTTEST = 0.01, 100.0
DEVIATION, UNSEEN = 1.0, 0.5
PHOTOS = 10_000


def temperature(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> float:
    """The temperature that ``fit`` finds."""
    return fit(logits, labels)[0]


def fit(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> tuple[float, float]:
    """What to divide logits (n, classes) by so that their softmax can be taken at its word (Guo et al., 2017).

    It is the most probable one given the class ids ``labels`` (n,) of photos that the model was not fitted on, 4 digits; 1
    where there are none. Two things are held likely before, both so weak that a few dozen photos overrule them: that its
    logarithm lies around 0 with the deviation ``DEVIATION``, and that ``UNSEEN`` mistakes more are to be expected than these
    photos show. So a model without a mistake on n photos is told to expect ``UNSEEN / n``, not none. Of more photos than
    ``PHOTOS`` evenly spaced ones are looked at: one number needs no more.

    Returns:
        The temperature, and how improbable all this is with it: the lower, the better logits fit the labels.
    """
    if not len(labels):
        return 1.0, 0.0
    if len(labels) > PHOTOS:
        chosen = np.linspace(0, len(labels) - 1, PHOTOS).astype(int)
        logits, labels = logits[chosen], labels[chosen]

    def loss(logarithm: float) -> float:
        logs = log_softmax(logits / np.exp(logarithm), axis=1)
        likelihood = logs[np.arange(len(labels)), labels].sum()
        rest = np.where(np.arange(logs.shape[1]) == logs.argmax(axis=1)[:, None], -np.inf, logs)
        mistakes = logsumexp(rest)  # the logarithm of how many the probabilities themselves expect
        return float((logarithm / DEVIATION) ** 2 / 2 - UNSEEN * mistakes - likelihood)

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return round(float(np.exp(found.x)), 4), float(found.fun)


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
