"""The classical models: scikit-learn pipelines from descriptors to landmarks."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from landmarks.classical.config import Kind, PipelineConfig
from landmarks.classical.encodings import ENCODERS, Flat, Photos
from landmarks.common import arrays
from landmarks.common.errors import InputError
from landmarks.evaluation import calibration
from landmarks.linear import sgd

Values = NDArray[np.floating[Any]]
Labels = NDArray[np.str_]
Fold = tuple[NDArray[np.intp], NDArray[np.intp]]
NEIGHBOURS = 5
SAMPLE = 10_000  # vectors that PCA learns from, where there are too many for an exact solver


def encoder(config: PipelineConfig) -> Any:
    """The transformer from descriptors to one vector a photo. Raises ``InputError`` if its vocabulary has no words."""
    if config.encoding == "flat":
        return Flat(config.detector, config.keypoints)
    if config.words < 2:
        raise InputError(f"the encoding {config.encoding} has {config.words} words; in params.yaml, give it 64 or so")
    shared = {name: getattr(config, name) for name in ("detector", "words", "components", "sample", "seed")}
    return ENCODERS[config.encoding](**shared)


def classifier(kind: Kind, seed: int, photos: int) -> Any:
    """Naive Bayes and the tree as in the thesis; the others at strengths that suit vectors of length 1.

    ``photos`` is how many it is to be fitted on.
    """
    match kind:
        case "bayes":
            return GaussianNB()
        case "tree":
            return DecisionTreeClassifier(random_state=seed)
        case "svm":
            return LinearSVC(random_state=seed)
        case "logistic":
            return LogisticRegression(C=100, max_iter=1000)
        case "neighbours":
            return KNeighborsClassifier(min(NEIGHBOURS, photos), weights="distance", algorithm="brute")


def pipeline(config: PipelineConfig, photos: int) -> Pipeline:
    """``encode``, ``pca`` where ``n`` is above 0, ``model``: to be fitted on the
    ``Features.values`` and ``Features.landmarks`` of so many ``photos``.
    """
    steps = [("encode", encoder(config)), ("model", classifier(config.classifier, config.seed, photos))]
    if config.n:
        steps.insert(1, ("pca", PCA(config.n, svd_solver="full")))
    return Pipeline(steps)


def fit(config: PipelineConfig, photos: Photos, landmarks: Labels) -> Pipeline:
    """Fit ``pipeline`` on one thread, so that the bits don't depend on the machine's cores.

    Of more photos and landmarks than exact solvers can bear (``sgd.EXACT``), linear classifiers learn in passes, and PCA from a
    sample.

    Raises ``InputError`` if there are fewer than two landmarks, or fewer photos or columns than components.
    """
    require_landmarks(landmarks)
    with threadpool_limits(1):
        model = pipeline(config, len(photos))
        encoded = model[0].fit_transform(photos)
        require_components(config.n, encoded)
        _learn(model[1:], encoded, landmarks, config.seed)  # the same steps, so the whole is fitted
    return model


def _learn(steps: Pipeline, vectors: Values, landmarks: Labels, seed: int) -> None:
    """Fit PCA, where there is one, and classifier on vectors (n, columns)."""
    classes, numbers = np.unique(landmarks, return_inverse=True)
    if not sgd.needed(len(vectors), vectors.shape[1], len(classes)):
        steps.fit(vectors, landmarks)
        return
    if len(steps) > 1:
        pca = steps[0]
        drawn = np.random.default_rng(seed).permutation(len(vectors))[: max(SAMPLE, pca.n_components)]
        pca.fit(vectors[np.sort(drawn)])
        vectors = arrays.by_blocks(pca.transform, vectors, pca.n_components)
    last = steps[-1]
    if isinstance(last, LinearSVC | LogisticRegression) and sgd.needed(len(vectors), vectors.shape[1], len(classes)):
        _learn_in_passes(last, vectors, classes, numbers, seed)
    else:
        last.fit(vectors, landmarks)


def _learn_in_passes(
    linear: LinearSVC | LogisticRegression, vectors: Values, classes: Labels, numbers: NDArray[np.int64], seed: int
) -> None:
    """Give it what it would learn, in scikit-learn's form: of two landmarks the second's score alone."""
    svm = isinstance(linear, LinearSVC)
    kernel, bias = sgd.fit(
        vectors, np.arange(len(vectors)), numbers, np.ones(len(vectors), np.float32),
        classes=len(classes), loss="squared_hinge" if svm else "logistic", seed=seed,
        # Of two landmarks scikit-learn's logistic regression has one kernel, the difference of these, whose penalty is twice theirs
        strength=linear.C if svm or len(classes) > 2 else linear.C / 2,
    )  # fmt: skip
    if len(classes) == 2:
        first = 0 if svm else 1
        kernel, bias = kernel[:, 1:] - first * kernel[:, :1], bias[1:] - first * bias[:1]
    linear.coef_, linear.intercept_ = np.ascontiguousarray(kernel.T), bias
    linear.classes_, linear.n_features_in_ = classes, vectors.shape[1]


def refits(
    model: Pipeline, vectors: Values, landmarks: Labels, subsets: Iterable[NDArray[np.bool_]]
) -> Iterator[Pipeline]:
    """The steps of a fitted ``pipeline`` after its encoding, fitted anew on each of some subsets, (n,), of photos.

    ``vectors`` are those of ``encoded``, (n, columns). Fewer photos than components or neighbours make these fewer. What is
    yielded has to be calibrated again.
    """
    for chosen in subsets:
        steps = clone(model[1:])
        if "pca" in steps.named_steps:
            steps["pca"].n_components = min(steps["pca"].n_components, *vectors[chosen].shape)
        if isinstance(steps[-1], KNeighborsClassifier):
            steps[-1].n_neighbors = min(NEIGHBOURS, chosen.sum())
        with threadpool_limits(1):
            _learn(steps, vectors[chosen], landmarks[chosen], seed=0)
        yield steps


def encoded(model: Pipeline, photos: Photos, train: NDArray[np.bool_]) -> Values:
    """The vectors, (n, columns), of photos by the encoding of a fitted ``pipeline``.

    Of a linear classifier without PCA they are given by their coordinates in the space that those of ``train``, (n,), span: far
    fewer where photos are few, and all products with what is fitted on these photos are as before.
    """
    with threadpool_limits(1):
        vectors = model[0].transform(photos)
        if len(model) > 2 or not isinstance(model[-1], LinearSVC | LogisticRegression):
            return np.asarray(vectors)
        if sgd.needed(int(train.sum()), vectors.shape[1], len(model.classes_)):
            return np.asarray(vectors)  # there are few columns beside the photos
        return np.asarray(vectors @ np.linalg.qr(vectors[train].T)[0])


def calibrate(model: Pipeline, photos: Photos | Values, landmarks: Labels) -> None:
    """Scale the probabilities of a linear SVM by photos that it was not fitted on; the others have probabilities of their own."""
    if isinstance(model[-1], LinearSVC):
        numbers = np.searchsorted(model.classes_, landmarks)
        distances = arrays.by_blocks(lambda block: _distances(model, block), photos, len(model.classes_))
        model[-1].temperature_ = calibration.temperature(distances, numbers)


def probabilities(model: Pipeline, photos: Photos | Values) -> Values:
    """(n, landmarks), rows that sum to 1, on one thread. Of a linear SVM they are the softmax of its distances, scaled."""
    return arrays.by_blocks(lambda block: _probabilities(model, block), photos, len(model.classes_))


def _probabilities(model: Pipeline, photos: Photos | Values) -> Values:
    if isinstance(model[-1], LinearSVC):
        return np.asarray(softmax(_distances(model, photos) / getattr(model[-1], "temperature_", 1), axis=1))
    with threadpool_limits(1):
        return np.asarray(model.predict_proba(photos))


def _distances(model: Pipeline, photos: Photos | Values) -> Values:
    with threadpool_limits(1):
        distances = model.decision_function(photos)
    return distances if distances.ndim == 2 else np.stack([-distances, distances], axis=1) / 2  # of two landmarks


def require_components(n: int, encoded: Values) -> None:
    """Raise ``InputError`` if PCA cannot give that many components."""
    if n > (most := min(encoded.shape)):
        raise InputError(
            f"{n} principal components asked for, {encoded.shape[0]} training photos of {encoded.shape[1]} columns "
            f"give {most} at most; lower pca.n, or the model's own pca, to {most} in params.yaml"
        )


def deal(landmarks: Labels, groups: NDArray[np.int64], folds: int, seed: int, block: str) -> list[Fold]:
    """Folds for cross-validation, (train, held out) a fold: stratified, near-duplicates together.

    Raises ``InputError`` naming the parameter ``block.folds``, and the most folds that are possible, if a landmark has fewer
    photos, near-duplicates counted once, than folds, or if a fold would be trained without one of the landmarks.
    """
    require_landmarks(landmarks)
    distinct = set(zip(landmarks.tolist(), groups.tolist(), strict=True))
    landmark, fewest = min(Counter(landmark for landmark, _ in distinct).items(), key=lambda item: item[::-1])
    if fewest >= folds and (dealt := _dealt(landmarks, groups, folds, seed)):
        return dealt
    possible = (n for n in range(min(fewest, folds - 1), 1, -1) if _dealt(landmarks, groups, n, seed))
    most = next(possible, 0)
    remedy = f"lower it to {most}, or raise" if most else "two of each are needed at least: raise"
    few = f"landmark {landmark} has {fewest} training photos, near-duplicates counted once"
    raise InputError(
        f"{block}.folds asks for {folds}, each with photos of all landmarks; {few}; {remedy} sample.per_class in params.yaml"
    )


def _dealt(landmarks: Labels, groups: NDArray[np.int64], folds: int, seed: int) -> list[Fold]:
    """The folds; none if one would be trained without one of the landmarks."""
    dealt = list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(landmarks, landmarks, groups))
    return dealt if all(set(landmarks[train]) == set(landmarks) for train, _ in dealt) else []


def require_landmarks(landmarks: Labels) -> None:
    """Raise ``InputError`` unless there are photos of two landmarks at least to tell apart."""
    if (count := len(set(landmarks.tolist()))) < 2:
        raise InputError(f"the training photos are of {count} landmark; two are needed: see sample.classes")


def by_components(
    train: Values, train_landmarks: Labels, held_out: Values, held_out_landmarks: Labels, components: list[int]
) -> NDArray[np.float64]:
    """Accuracy of naive Bayes on the first n principal components, for every n of ``components``, (n, 2): train, held out.

    One PCA and one naive Bayes do for all: components don't depend on how many are kept, nor does what naive Bayes adds
    up from each. The same as fitting both anew for every number, where the PCA is exact.
    """
    most = max(components)
    require_components(most, train)
    pca = PCA(most, svd_solver="full").fit(train)
    projected = pca.transform(train)
    model = GaussianNB().fit(projected, train_landmarks)
    parts = ((projected, train_landmarks), (pca.transform(held_out), held_out_landmarks))
    return np.stack([_by_columns(model, values, landmarks, components) for values, landmarks in parts], axis=1)


def _by_columns(model: GaussianNB, values: Values, landmarks: Labels, columns: list[int]) -> Values:
    """Accuracy of a fitted naive Bayes from the first n columns alone, for every n of ``columns``.

    The variance that GaussianNB adds to all for stability is a share of the largest: the first column's, whatever n.
    """
    right = np.zeros((len(columns), len(values)), bool)
    last = np.array(columns) - 1
    for start in range(0, len(values), 256):  # bounds the memory: photos * landmarks * columns
        block = values[start : start + 256, None, :]
        each = -0.5 * (np.log(2 * np.pi * model.var_) + (block - model.theta_) ** 2 / model.var_)
        likelihood = np.log(model.class_prior_)[:, None] + each.cumsum(axis=2)[:, :, last]
        right[:, start : start + 256] = model.classes_[likelihood.argmax(axis=1).T] == landmarks[start : start + 256]
    return right.mean(axis=1)
