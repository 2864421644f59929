"""One vector a photo from its many descriptors: scikit-learn transformers on object arrays of (k, columns) descriptors.

All learn on what ``fit`` is given and on a sample of its descriptors: what they need for that doesn't grow with the photos.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from landmarks.classical.config import Encoding
from landmarks.classical.local_features import COLUMNS, Detector, comparable
from landmarks.common import arrays
from landmarks.common.errors import InputError

Photos = NDArray[np.object_]
Vectors = NDArray[np.float32]


class Flat(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """The thesis' encoding: the ``keypoints`` strongest descriptors end to end, zeros where a photo has fewer."""

    def __init__(self, detector: Detector, keypoints: int) -> None:
        self.detector = detector
        self.keypoints = keypoints

    def fit(self, photos: Photos, landmarks: Any = None) -> Self:
        """Learn nothing."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Nothing to learn, so always."""
        return True

    def transform(self, photos: Photos) -> NDArray[np.floating[Any]]:
        """(n, keypoints * columns), float64, or float32 in a file where they are many: the numbers that OpenCV gave."""
        rows = arrays.zeros((len(photos), self.keypoints * COLUMNS[self.detector]), np.float64, np.float32)
        for row, values in zip(rows, photos, strict=True):
            strongest = values[: self.keypoints].ravel()
            row[: strongest.size] = strongest
        return rows


class _Vocabulary(TransformerMixin, BaseEstimator, ABC):  # type: ignore[misc]  # the same
    """What the other encodings share: a sample of descriptors, their principal components, a photo at a time.

    Made with the ``detector`` of the descriptors, the size of the vocabulary in ``words``, the principal
    ``components`` kept of a descriptor, the size of the ``sample`` both are learnt from, and a ``seed``.
    """

    def __init__(self, detector: Detector, words: int, components: int, sample: int, seed: int) -> None:
        self.detector = detector
        self.words = words
        self.components = components
        self.sample = sample
        self.seed = seed

    def fit(self, photos: Photos, landmarks: Any = None) -> Self:
        """Learn the components and the vocabulary. Raises ``InputError`` if the photos have too few descriptors."""
        fit_together([self], photos)
        return self

    def components_of(self, photos: Photos) -> tuple[PCA, NDArray[np.float32]]:
        """The principal components of the photos' descriptors, and the sample that they were learnt from, on them."""
        drawn = self._draw(photos)
        components = min(self.components, drawn.shape[1])
        needed = max(self.words, components)
        if len(drawn) < needed:
            raise InputError(
                f"{len(drawn)} descriptors of the training photos, encoding.sample at most, are too few for a vocabulary "
                f"of {self.words} words on {components} components; lower words (in models or grid) and encoding.components, "
                "or raise encoding.sample and keypoints.count"
            )
        pca = PCA(components, svd_solver="covariance_eigh").fit(drawn)
        return pca, pca.transform(drawn)

    def transform(self, photos: Photos) -> Vectors:
        """(n, width) float32 of length 1, in a file where they are many; a photo without keypoints is all zeros."""
        rows = arrays.zeros((len(photos), self._width()), np.float32)
        for row, values in zip(rows, photos, strict=True):
            if len(values):
                vector = self._encode(self.pca_.transform(comparable(values, self.detector)))
                # power normalisation: no burst of words drowns the rest
                vector = np.sign(vector) * np.sqrt(np.abs(vector))
                row[:] = vector / max(np.linalg.norm(vector), 1e-12)
        return rows

    def _draw(self, photos: Photos) -> NDArray[np.float32]:
        ends = np.cumsum([len(values) for values in photos])
        total = int(ends[-1]) if len(ends) else 0
        rng = np.random.default_rng(self.seed)
        chosen = np.sort(rng.choice(total, min(self.sample, total), replace=False, shuffle=False))
        cuts = np.searchsorted(chosen, ends)
        starts = np.concatenate([[0], cuts[:-1]])
        drawn = [values[chosen[a:b] - (end - len(values))]
                 for values, a, b, end in zip(photos, starts, cuts, ends, strict=True)]  # fmt: skip
        return comparable(np.concatenate(drawn), self.detector)

    def learn(self, drawn: NDArray[np.float32]) -> Any:
        """The vocabulary of a sample, float32 (n, components)."""
        return MiniBatchKMeans(self.words, batch_size=4096, n_init=1, random_state=self.seed).fit(drawn)

    @abstractmethod
    def _width(self) -> int:
        """Columns of the encoding."""

    @abstractmethod
    def _encode(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """One photo's projected descriptors, (k, components), k above 0, to (width,)."""


class Words(_Vocabulary):
    """How often each visual word occurs (Csurka et al., 2004), (n, words); the roots of the counts, see ``transform``."""

    def _width(self) -> int:
        return self.words

    def _encode(self, values: NDArray[np.float32]) -> NDArray[Any]:
        return np.bincount(self.vocabulary_.predict(values), minlength=self.words).astype(np.float32)


class Vlad(_Vocabulary):
    """What the descriptors of each word differ from it by, summed (Jégou et al., 2010), (n, words * components).

    Each word's part has length 1 first (intra-normalisation: Arandjelović and Zisserman, 2013).
    """

    def _width(self) -> int:
        return self.words * self.pca_.n_components_

    def _encode(self, values: NDArray[np.float32]) -> NDArray[Any]:
        centres = self.vocabulary_.cluster_centers_
        nearest = np.eye(self.words, dtype=np.float32)[self.vocabulary_.predict(values)]
        apart = nearest.T @ values - nearest.sum(axis=0)[:, None] * centres
        return (apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-12)).ravel()


class Fisher(_Vocabulary):
    """How the photo would shift each Gaussian of a mixture, in mean and spread (Perronnin et al., 2010), (n, 2 * words * components)."""

    def learn(self, drawn: NDArray[np.float32]) -> Any:
        """The mixture, likewise."""
        mixture = GaussianMixture(self.words, covariance_type="diag", tol=0.01, reg_covar=1e-5, random_state=self.seed)
        return mixture.fit(drawn)

    def _width(self) -> int:
        return 2 * self.words * self.pca_.n_components_

    def _encode(self, values: NDArray[np.float32]) -> NDArray[Any]:
        mixture = self.vocabulary_
        share = mixture.predict_proba(values)
        weight, spread = mixture.weights_[:, None], np.sqrt(mixture.covariances_)
        count, total, squares = share.sum(axis=0)[:, None], share.T @ values, share.T @ values**2
        mean = (total - count * mixture.means_) / (spread * np.sqrt(weight))
        second = squares - 2 * mixture.means_ * total + count * mixture.means_**2
        wide = (second / spread**2 - count) / np.sqrt(2 * weight)
        return np.concatenate([mean.ravel(), wide.ravel()]) / len(values)


def fit_together(encoders: Sequence[_Vocabulary], photos: Photos) -> None:
    """Fit encoders that differ in nothing but their kind, each as ``fit`` does: what they have in common is learnt once."""
    pca, drawn = encoders[0].components_of(photos)
    vocabularies: dict[Any, Any] = {}
    for encoder in encoders:
        learn = type(encoder).learn
        if learn not in vocabularies:
            vocabularies[learn] = encoder.learn(drawn)
        encoder.pca_, encoder.vocabulary_ = pca, vocabularies[learn]


ENCODERS: dict[Encoding, type[_Vocabulary]] = {"words": Words, "vlad": Vlad, "fisher": Fisher}
