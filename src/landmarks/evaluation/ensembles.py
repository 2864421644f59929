"""Ensembles: a network and a keypoint model as one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from landmarks.evaluation import calibration

Probabilities = NDArray[np.floating[Any]]
LEAST = 1e-6  # taken for a lower probability, whose logarithm would outweigh all others
SHARES = np.linspace(0.01, 0.99, 99)
LIKELY, PHOTOS = 0.2, 5  # the share before a photo is seen, and how many photos that knowledge is worth


def pool(
    network: Probabilities, model: Probabilities, labels: NDArray[np.int64], held_out: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Probabilities (n, labels) of two models of that shape as one, and the share of the second: their logarithmic opinion pool.

    It is the softmax of the weighted mean of their logarithms (Genest and Zidek, 1986), divided by a temperature, since where models
    that err on different photos agree, they are right more often than either says. Share and temperature are the most probable ones
    given the class ids ``labels`` (n,) of the ``held_out`` photos, whose probabilities come from models that had not seen them. As
    these are few, the share is held to be about ``LIKELY`` before.
    """
    logs = [np.log(np.maximum(each, LEAST)) for each in (network, model)]

    def judged(share: float) -> tuple[float, float, float]:
        temperature, improbable = calibration.fit(_mixed(logs, share)[held_out], labels[held_out])
        before = PHOTOS * (LIKELY * np.log(share) + (1 - LIKELY) * np.log(1 - share))
        return improbable - before, share, temperature

    _, share, temperature = min(map(judged, SHARES.tolist()))
    return np.asarray(softmax(_mixed(logs, share) / temperature, axis=1)), share


def _mixed(logs: list[NDArray[Any]], share: float) -> NDArray[Any]:
    return (1 - share) * logs[0] + share * logs[1]
