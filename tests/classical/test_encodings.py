"""One vector a photo, as the papers define it, learnt on a bounded sample."""

from typing import Any

import numpy as np
import pytest

from landmarks.classical import encodings, features_file
from landmarks.classical.config import Encoding


@pytest.fixture
def photos_() -> encodings.Photos:
    rng = np.random.default_rng(3)
    return features_file.objects(rng.normal(0, 1, (k, 64)).astype(np.float32) for k in (30, 50, 1, 0, 40, 80))


def test_flat_lays_the_strongest_descriptors_end_to_end_as_in_the_thesis(photos_: encodings.Photos) -> None:
    rows = encodings.Flat("kaze", 32).fit_transform(photos_)
    assert rows.shape == (6, 2048)
    np.testing.assert_array_equal(rows[1], photos_[1][:32].ravel())
    np.testing.assert_array_equal(rows[2], np.pad(photos_[2].ravel(), (0, 31 * 64)))
    assert not rows[3].any()


@pytest.mark.parametrize("encoding", encodings.ENCODERS)
def test_an_encoding_has_length_1_in_whatever_order_keypoints_are(
    photos_: encodings.Photos, encoding: Encoding
) -> None:
    made = encodings.ENCODERS[encoding]("kaze", words=4, components=6, sample=150, seed=0).fit(photos_)
    rows = made.transform(photos_)
    assert rows.shape == (6, {"words": 4, "vlad": 24, "fisher": 48}[encoding])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 1, 1, 0, 1, 1], atol=1e-5)
    upside_down = features_file.objects(values[::-1] for values in photos_)
    np.testing.assert_allclose(made.transform(upside_down), rows, atol=1e-5)


def test_encodings_learnt_together_are_those_learnt_alone_and_share_a_vocabulary(photos_: encodings.Photos) -> None:
    alone, together = (
        {name: kind("kaze", words=4, components=6, sample=150, seed=0) for name, kind in encodings.ENCODERS.items()}
        for _ in range(2)
    )
    encodings.fit_together(list(together.values()), photos_)
    for name, encoder in alone.items():
        np.testing.assert_array_equal(together[name].transform(photos_), encoder.fit(photos_).transform(photos_))
    assert together["words"].vocabulary_ is together["vlad"].vocabulary_


def test_words_counts_the_nearest_words(photos_: encodings.Photos) -> None:
    made = encodings.Words("kaze", words=4, components=6, sample=60_000, seed=0).fit(photos_)
    projected, centres = made.pca_.transform(photos_[0]), made.vocabulary_.cluster_centers_
    nearest = ((projected[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    counts = np.sqrt([(nearest == word).sum() for word in range(4)])
    np.testing.assert_allclose(made.transform(photos_[:1])[0], counts / np.linalg.norm(counts), rtol=1e-5)


def test_vlad_sums_what_descriptors_differ_from_their_word_by(photos_: encodings.Photos) -> None:
    made = encodings.Vlad("kaze", words=4, components=6, sample=60_000, seed=0).fit(photos_)
    projected, centres = made.pca_.transform(photos_[0]), made.vocabulary_.cluster_centers_
    sums = np.zeros((4, 6))
    for value in projected:
        word = ((value - centres) ** 2).sum(axis=1).argmin()
        sums[word] += value - centres[word]
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    expected = (np.sign(sums) * np.sqrt(np.abs(sums))).ravel()
    np.testing.assert_allclose(made.transform(photos_[:1])[0], expected / np.linalg.norm(expected), atol=1e-5)


def test_a_fisher_vector_is_the_gradient_of_the_log_likelihood(photos_: encodings.Photos) -> None:
    """By finite differences, whitened by the Fisher information: sigma / sqrt(w) for the means, sigma / sqrt(2 w) for the spreads."""
    made = encodings.Fisher("kaze", words=3, components=2, sample=60_000, seed=0).fit(photos_)
    mixture, values = made.vocabulary_, made.pca_.transform(photos_[5]).astype(np.float64)
    means, spreads = mixture.means_.copy(), np.sqrt(mixture.covariances_)
    weights, step, expected = mixture.weights_[:, None], 1e-4, np.zeros((2, 3, 2))

    def likelihood(means: Any, spreads: Any) -> float:
        mixture.means_, mixture.covariances_, mixture.precisions_cholesky_ = means, spreads**2, 1 / spreads
        return float(mixture.score_samples(values).mean())

    for place in np.ndindex(3, 2):
        nudge = np.zeros((3, 2))
        nudge[place] = step
        expected[0][place] = (likelihood(means + nudge, spreads) - likelihood(means - nudge, spreads)) / (2 * step)
        expected[1][place] = (likelihood(means, spreads + nudge) - likelihood(means, spreads - nudge)) / (2 * step)
    likelihood(means, spreads)
    gradient = np.stack([expected[0] * spreads / np.sqrt(weights), expected[1] * spreads / np.sqrt(2 * weights)])
    powered = (np.sign(gradient) * np.sqrt(np.abs(gradient))).ravel()
    np.testing.assert_allclose(made.transform(photos_[5:])[0], powered / np.linalg.norm(powered), atol=1e-3)


def test_a_vocabulary_learns_from_a_bounded_sample_that_its_seed_draws() -> None:
    many = features_file.objects(np.random.default_rng(i).normal(0, 1, (90, 64)).astype(np.float32) for i in range(30))

    def draw(sample: int, seed: int = 0) -> Any:
        return encodings.Vlad("kaze", words=64, components=64, sample=sample, seed=seed)._draw(many)

    drawn = draw(500)
    assert drawn.shape == (500, 64)
    rows = {values.tobytes(): photo for photo, photos in enumerate(many) for values in photos}
    assert len({rows[values.tobytes()] for values in drawn}) == 30  # of every photo, not of the first ones
    assert len(draw(9999)) == 30 * 90
    np.testing.assert_array_equal(drawn, draw(500))
    assert (drawn != draw(500, seed=1)).any()
