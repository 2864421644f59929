"""The classical models: scikit-learn pipelines on flattened descriptors."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from landmarks.errors import InputError

Values = NDArray[np.float64]
Kind = Literal["bayes", "tree"]


def pipeline(kind: Kind, components: int, seed: int) -> Pipeline:
    """Gaussian naive Bayes or a decision tree, on ``components`` principal components or, at 0, on the columns as they are."""
    model = GaussianNB() if kind == "bayes" else DecisionTreeClassifier(random_state=seed)
    steps = [("pca", PCA(components, svd_solver="full"))] if components else []
    return Pipeline([*steps, ("model", model)])


def fit(kind: Kind, components: int, seed: int, values: Values, landmarks: NDArray[np.str_]) -> Pipeline:
    """Fit ``pipeline`` on values (n, columns) and landmarks (n,), on one thread so that the bits don't depend on the machine's cores.

    Raises ``InputError`` if there are fewer rows or columns than components.
    """
    require_components(components, values)
    with threadpool_limits(1):
        return pipeline(kind, components, seed).fit(values, landmarks)


def require_components(components: int, values: Values) -> None:
    """Raise ``InputError`` if PCA cannot give that many components."""
    if components > min(values.shape):
        raise InputError(
            f"{components} principal components asked for, {values.shape[0]} training photos of {values.shape[1]} columns "
            f"give {min(values.shape)} at most; lower pca.n or sweep.stop in params.yaml"
        )


def sweep(
    values: Values, landmarks: NDArray[np.str_], groups: NDArray[np.int64], components: list[int], folds: int, seed: int
) -> list[tuple[int, float, float]]:
    """Accuracy of naive Bayes against the number of components (the thesis' figure 23), cross-validated.

    One PCA a fold gives every number of components: its first n columns. Folds are stratified and keep near-duplicates
    together. Returns (components, accuracy on the training folds, on the held-out fold), means over the folds.
    """
    fewest = min(Counter(landmarks.tolist()).values())
    if fewest < folds:
        raise InputError(
            f"a landmark has {fewest} training photos, sweep.folds asks for {folds}; lower it in params.yaml"
        )
    scores = np.zeros((len(components), folds, 2))
    deal = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with threadpool_limits(1):
        for fold, (train, held_out) in enumerate(deal.split(values, landmarks, groups)):
            require_components(max(components), values[train])
            pca = PCA(max(components), svd_solver="full").fit(values[train])
            parts = [pca.transform(values[part]) for part in (train, held_out)]
            for row, n in enumerate(components):
                model = GaussianNB().fit(parts[0][:, :n], landmarks[train])
                for column, part in enumerate((train, held_out)):
                    scores[row, fold, column] = model.score(parts[column][:, :n], landmarks[part])
    means = scores.mean(axis=1).round(4)
    return [(n, float(row[0]), float(row[1])) for n, row in zip(components, means, strict=True)]
