"""Linear classifiers by stochastic gradient descent: in passes over rows that may lie on disk, in memory that doesn't grow with them.

The objectives are those of scikit-learn's ``LogisticRegression`` and ``LinearSVC``, whose solvers look at all rows for each of
hundreds of steps. Here a step looks at ``BATCH`` rows, with momentum, at a rate that falls to 0 along a cosine: at the end, steps are
so small that their noise averages out (Bottou, Curtis and Nocedal, 2018).
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

EXACT = 10**9  # rows * columns * classes, up to which exact solvers take minutes
BATCH = 256
PASSES, STEPS = 5, 2000  # over all rows, and at least so many steps
MOMENTUM = 0.9
SAMPLE = 4096  # rows that the rate is chosen by
ITERATIONS = 30  # of the power method

Loss = Literal["logistic", "squared_hinge"]
Rows = NDArray[np.floating[Any]]
Weights = NDArray[np.float32]
CURVATURE: dict[Loss, float] = {"logistic": 0.5, "squared_hinge": 2}  # at most, by the score


def needed(rows: int, columns: int, classes: int) -> bool:
    """Whether a problem of this size is too large for an exact solver."""
    return rows * columns * classes > EXACT


def fit(
    rows: Rows,
    chosen: NDArray[np.int64],
    class_ids: NDArray[np.int64],
    weights: Weights,
    *,
    classes: int,
    loss: Loss,
    strength: float,
    seed: int,
) -> tuple[Weights, Weights]:
    """Kernel (columns, classes) and bias (classes,) of scores ``rows @ kernel + bias``, float32.

    Learnt from the rows (n, columns), perhaps on disk, whose numbers are ``chosen`` (m,), each of class ``class_ids``
    (m,) and counted ``weights`` (m,) times. They minimise half the squared kernel plus ``strength`` times the sum of the losses:
    ``logistic``, the cross-entropy of the scores' softmax, or ``squared_hinge``, of each class against the others. The bias is
    not penalised. The result depends on these and on the ``seed`` alone, if BLAS runs on one thread.
    """
    mean = _mean(rows, chosen)
    rng, steps_of_a_pass = np.random.default_rng(seed), -(-len(chosen) // BATCH)
    passes = max(PASSES, -(-STEPS // steps_of_a_pass))
    total = float(weights.sum(dtype=np.float64))
    # A higher rate would not converge, by the loss or, where the strength is small, by the penalty
    rate = min(1 / (2 * CURVATURE[loss] * _largest_variance(rows, chosen, mean, rng)), strength * total / 2)
    scaled = (weights * (len(chosen) / total)).astype(np.float32)
    kernel, bias = np.zeros((rows.shape[1], classes), np.float32), np.zeros(classes, np.float32)
    moving, moving_bias = np.zeros_like(kernel), np.zeros_like(bias)
    for number in range(passes):
        order = rng.permutation(len(chosen))
        for step in range(steps_of_a_pass):
            batch = np.sort(order[step * BATCH : (step + 1) * BATCH])  # in the order of the file
            own = np.subtract(rows[chosen[batch]], mean, dtype=np.float32)
            slope = _slope(loss, own @ kernel + bias, class_ids[batch]) * (scaled[batch] / len(batch))[:, None]
            lower = (1 + np.cos(np.pi * (number * steps_of_a_pass + step) / (passes * steps_of_a_pass))) / 2
            moving *= np.float32(MOMENTUM)
            moving -= np.float32(rate * lower) * (own.T @ slope + kernel / np.float32(strength * total))
            moving_bias *= np.float32(MOMENTUM)
            moving_bias -= np.float32(lower / (2 * CURVATURE[loss])) * slope.sum(axis=0)
            kernel += moving
            bias += moving_bias
    return kernel, bias - mean @ kernel


def _slope(loss: Loss, scores: NDArray[Any], class_ids: NDArray[np.int64]) -> Any:
    """The derivative of each row's loss by its scores, (n, classes), which are overwritten."""
    places = np.arange(len(scores)), class_ids
    if loss == "logistic":
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        scores[places] -= 1
        return scores
    right = scores[places]
    slope = 2 * np.maximum(scores + 1, 0, out=scores)
    slope[places] = -2 * np.maximum(1 - right, 0)
    return slope


def _mean(rows: Rows, chosen: NDArray[np.int64]) -> Weights:
    total = np.zeros(rows.shape[1])
    for start in range(0, len(chosen), SAMPLE):
        total += rows[chosen[start : start + SAMPLE]].sum(axis=0, dtype=np.float64)
    total /= len(chosen)
    return total.astype(np.float32)


def _largest_variance(rows: Rows, chosen: NDArray[np.int64], mean: Weights, rng: np.random.Generator) -> float:
    """The largest eigenvalue of the covariance, by the power method on a sample: a higher rate than its inverse would not converge."""
    sample = rows[np.sort(rng.choice(chosen, min(SAMPLE, len(chosen)), replace=False))].astype(np.float32) - mean
    direction = rng.standard_normal(rows.shape[1], np.float32)
    variance = 0.0
    for _ in range(ITERATIONS):
        direction /= max(float(np.linalg.norm(direction)), float(np.finfo(np.float32).tiny))
        direction = sample.T @ (sample @ direction) / np.float32(len(sample))
        variance = float(np.linalg.norm(direction))
    return variance or 1.0
