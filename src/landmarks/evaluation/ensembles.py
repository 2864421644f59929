"""Ensembles: several models as one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from landmarks.evaluation import calibration

LEAST = 1e-6  # taken for a lower probability, whose logarithm would outweigh all others


def mean(
    probabilities: Sequence[NDArray[np.floating[Any]]], labels: NDArray[np.int64], held_out: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The mean of several models' probabilities, each (n, labels), calibrated as one model.

    Where models that err on different photos agree, they are right more often than their mean says: its logarithm is divided by
    the temperature that suits the class ids ``labels`` (n,) of the ``held_out`` photos, whose probabilities come from models that had not seen them.
    """
    logs = np.log(np.maximum(np.mean(probabilities, axis=0), LEAST))
    return np.asarray(softmax(logs / calibration.temperature(logs[held_out], labels[held_out]), axis=1))
