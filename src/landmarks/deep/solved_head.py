"""The head of a frozen backbone: multinomial logistic regression on its vectors, solved rather than trained.

The loss is convex, so there is one answer: no rate, no epoch, no seed but that of the folds. Its strength, the inverse of the weight
decay, is chosen by cross-validation in which near-duplicates lie on one side. Of more photos and classes than a solver can bear
(``sgd.EXACT``) the head is learnt in passes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from landmarks.common import arrays, parallel, progress
from landmarks.linear import sgd

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]
Logits = NDArray[np.float32]

FOLDS = 5
STRENGTHS = (10.0, 100.0, 1000.0, 10000.0)  # between them the temperature makes up the difference
TOLERANCE = 1e-6  # of the gradient: with ten times more, the strongest would end where the one before it did
ITERATIONS = 1000
CHOOSING = 20_000  # photos at most that the strength of a head learnt in passes is chosen by
NEVER = -1e4  # the logit of a landmark that a fold has no photo of


@dataclass(frozen=True)
class Step:
    """A strength, and its mean cross-entropy and accuracy on the photos it was fitted on and on those held out."""

    strength: float
    loss: float
    accuracy: float
    held_out_loss: float
    held_out_accuracy: float


@dataclass(frozen=True)
class SolvedHead:
    """Logits are ``vector @ kernel + bias``, float32 (dimensions, classes) and (classes,)."""

    kernel: Vectors
    bias: Vectors
    path: list[Step]  # from the weakest to the strongest
    held_out: Logits  # (n, classes): of each photo, by the fold that did not see it
    judged: NDArray[np.bool_]  # (n,): whether that fold had another photo of its landmark


@dataclass(frozen=True)
class Examples:
    """Vectors of length 1 of each photo's views, and their weights, 0 for a view that is not for training.

    The first ``shown`` views are those that a photo is recognised by: its logits are their mean.
    """

    vectors: Vectors  # (n, views, dimensions)
    weights: Vectors  # (n, views)
    shown: int
    class_ids: Numbers  # (n,)
    groups: Numbers  # (n,): near-duplicates have one number


def solve(examples: Examples, classes: int, seed: int) -> SolvedHead:
    """Choose the strength with the lowest cross-entropy on photos that are held out, and fit all photos with it.

    Where no photo can be held out, as with one photo a landmark, the strength is the middle one. A head learnt in passes has its
    strength chosen by one fold of ``CHOOSING`` photos drawn at random.
    """
    folds = deal(examples.class_ids, examples.groups, seed)
    if sgd.needed(int(np.count_nonzero(examples.weights)), examples.vectors.shape[2], classes):
        return _in_passes(examples, classes, folds, seed)

    def judge(fold: int) -> list[tuple[Logits, tuple[float, float]]]:
        """By strength, the logits of the photos in a fold, and the scores on the others; none where there is nothing to judge."""
        rest, out = folds != fold, folds == fold
        if not out.any() or len(set(examples.class_ids[rest].tolist())) < 2:
            return []
        told = [
            [logits(examples.vectors[part, : examples.shown], kernel, bias) for part in (out, rest)]
            for kernel, bias in _along_path(examples, rest, classes)
        ]
        return [(held_out, _scores(own, examples.class_ids[rest])) for held_out, own in told]

    held_out = np.full((len(STRENGTHS), len(folds), classes), NEVER, np.float32)
    fitted: list[list[tuple[float, float]]] = [[] for _ in STRENGTHS]
    sound = np.zeros(len(folds), bool)
    with threadpool_limits(1), progress.bar(FOLDS + 1, "head", "fold") as bar:
        for fold, judged in enumerate(parallel.threads(judge, range(FOLDS))):
            out, rest = folds == fold, folds != fold
            sound |= out & np.isin(examples.class_ids, examples.class_ids[rest]) & bool(judged)
            for place, (told, scores) in enumerate(judged):
                held_out[place, out] = told
                fitted[place].append(scores)
            bar.update()
        path = []
        for place, strength in enumerate(STRENGTHS):
            loss, accuracy = np.mean(fitted[place] or [(0, 0)], axis=0)
            held_out_loss, held_out_accuracy = _scores(held_out[place, sound], examples.class_ids[sound])
            path.append(Step(strength, loss, accuracy, held_out_loss, held_out_accuracy))
        chosen = min(range(len(path)), key=lambda place: path[place].held_out_loss) if sound.any() else len(path) // 2
        everything = np.ones(len(folds), bool)
        (*_, (kernel, bias)) = _along_path(examples, everything, classes, STRENGTHS[: chosen + 1])
        bar.update()
    return SolvedHead(kernel, bias, path, held_out[chosen], sound)


def _in_passes(examples: Examples, classes: int, folds: Numbers, seed: int) -> SolvedHead:
    """The same by stochastic gradient descent: what it holds in memory are heads, blocks, and the logits of the photos held out."""
    drawn = np.zeros(len(folds), bool)
    drawn[np.random.default_rng(seed).permutation(len(folds))[:CHOOSING]] = True
    held_out = arrays.zeros((len(folds), classes), np.float32)

    def step(strength: float) -> Step:
        kernel, bias = _learnt(examples, drawn & (folds != 0), classes, strength, seed)
        own, others = (
            _scores(logits(examples.vectors[part, : examples.shown], kernel, bias), examples.class_ids[part])
            for part in (drawn & (folds != 0), drawn & (folds == 0))
        )
        return Step(strength, *own, *others)

    def predict(fold: int) -> tuple[Vectors, Vectors]:
        """Fill in the logits of a fold by a head that lacks it."""
        kernel, bias = _learnt(examples, folds != fold, classes, chosen.strength, seed)
        out = np.flatnonzero(folds == fold)
        for block in arrays.blocks(len(out)):
            rows = out[block]
            held_out[rows] = logits(examples.vectors[rows, : examples.shown], kernel, bias)
        return kernel, bias

    with threadpool_limits(1), progress.bar(len(STRENGTHS) + FOLDS + 1, "head", "fit") as bar:
        path = []
        for one in parallel.threads(step, STRENGTHS):
            path.append(one)
            bar.update()
        chosen = min(path, key=lambda one: one.held_out_loss)
        heads = []
        for head in parallel.threads(predict, range(FOLDS + 1)):
            heads.append(head)
            bar.update()
    sound = np.zeros(len(folds), bool)
    for fold in range(FOLDS):
        sound |= (folds == fold) & np.isin(examples.class_ids, examples.class_ids[folds != fold])
    return SolvedHead(*heads[-1], path, held_out, sound)  # the last one lacks no photo


def _learnt(
    examples: Examples, photos: NDArray[np.bool_], classes: int, strength: float, seed: int
) -> tuple[Vectors, Vectors]:
    """Kernel and bias of one strength, learnt in passes over the views of the chosen ``photos``."""
    views = examples.weights.shape[1]
    weights = np.where(photos[:, None], examples.weights, 0).ravel()
    used = np.flatnonzero(weights)
    class_ids = examples.class_ids[used // views]
    kernel, bias = sgd.fit(
        examples.vectors.reshape(len(weights), -1), used, class_ids, weights[used],
        classes=classes, loss="logistic", strength=strength, seed=seed,
    )  # fmt: skip
    absent = ~np.isin(np.arange(classes), class_ids)
    kernel[:, absent], bias[absent] = 0, NEVER
    return kernel, bias


def deal(class_ids: Numbers, groups: Numbers, seed: int) -> Numbers:
    """The fold of each photo, int64 (n,): groups whole, those of a landmark spread over all folds."""
    _, first, place = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    dealt = np.empty(len(first), np.int64)
    dealt[shuffled[np.argsort(class_ids[first][shuffled], kind="stable")]] = np.arange(len(first)) % FOLDS
    return dealt[place]


def logits(vectors: Vectors, kernel: Vectors, bias: Vectors) -> Logits:
    """Of photos, (n, classes), given the vectors of their views, (n, views, dimensions)."""
    return arrays.by_blocks(lambda block: block.mean(axis=1) @ kernel + bias, vectors, len(bias))


def _along_path(
    examples: Examples, chosen: NDArray[np.bool_], classes: int, strengths: tuple[float, ...] = STRENGTHS
) -> Iterator[tuple[Vectors, Vectors]]:
    """Kernel and bias of every strength in turn, fitted on the chosen photos; each starts where the one before ended."""
    weights = examples.weights[chosen]
    used = weights.ravel() > 0
    rows = examples.vectors[chosen].reshape(len(used), -1)[used]
    targets = np.repeat(examples.class_ids[chosen], weights.shape[1])[used]
    model = LogisticRegression(tol=TOLERANCE, max_iter=ITERATIONS, warm_start=True)
    for strength in strengths:
        model.set_params(C=strength).fit(rows, targets, weights.ravel()[used])
        kernel, bias = np.zeros((rows.shape[1], classes), np.float32), np.full(classes, NEVER, np.float32)
        coefficients, intercepts = model.coef_.T, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn keeps the second class alone
            coefficients, intercepts = coefficients * [[-0.5, 0.5]], intercepts * [-0.5, 0.5]
        kernel[:, model.classes_], bias[model.classes_] = coefficients, intercepts
        yield kernel, bias


def _scores(of: Logits, class_ids: Numbers) -> tuple[Any, Any]:
    """Mean cross-entropy and accuracy; 0 of no photos."""
    if not len(of):
        return 0.0, 0.0
    return -log_softmax(of, axis=1)[np.arange(len(of)), class_ids].mean(), (of.argmax(axis=1) == class_ids).mean()
