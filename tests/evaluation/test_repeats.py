"""The experiment with other seeds and other photos: mean and standard deviation, paired comparisons, and a chart."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from landmarks.evaluation import seed_study, significance
from landmarks.reporting import plots

ROWS = pd.DataFrame(
    [
        (model, seed, sample, n, 0.5, (0.9 if model == "plain" else 0.1 + n / 100) + seed / 10 + (sample - 7) / 50)
        for n, seeds, sample in ((5, 3, 7), (10, 3, 7), (10, 1, 8)) for seed in range(seeds) for model in ("tree", "plain", "bayes")
    ],
    columns=list(seed_study.COLUMNS),
)  # fmt: skip


def test_mean_and_sample_deviation_are_over_the_seeds_of_one_number_of_components() -> None:
    found = seed_study.summary(ROWS, 10)
    assert list(found.index) == ["tree", "plain", "bayes"]
    assert found.loc["plain"].to_dict() == pytest.approx({"mean": 1.0, "sd": 0.1, "count": 3})
    assert found.loc["bayes", "mean"] == pytest.approx(0.3)
    single = seed_study.summary(ROWS[ROWS["seed"] == 0], 5)
    assert single["sd"].isna().all()
    assert (single["count"] == 1).all()


def test_other_photos_are_an_axis_of_their_own_from_the_run_that_both_share() -> None:
    found = seed_study.summary(ROWS, 10, "sample")
    assert found.loc["plain"].to_dict() == pytest.approx({"mean": 0.91, "sd": 0.02 / np.sqrt(2), "count": 2})
    assert seed_study.summary(ROWS, 5, "sample")["count"].tolist() == [1, 1, 1]


def test_overlapping_splits_widen_the_t_test_by_the_ratio_of_test_to_training_photos() -> None:
    differences = [0.02, 0.01, 0.03, 0.0, 0.02]
    plain = stats.ttest_1samp(differences, 0)
    low, high = plain.confidence_interval(0.95)
    independent, overlapping = significance.corrected(differences, 0), significance.corrected(differences, 0.3 / 0.7)
    assert independent == pytest.approx((0.016, (high - low) / 2, plain.pvalue))
    assert overlapping.reach == pytest.approx(independent.reach * np.sqrt(1 + 5 * 0.3 / 0.7))
    assert overlapping.p > independent.p
    same = significance.corrected([0.8 - 0.7, 0.9 - 0.8], 1)  # which differ in their last bits
    assert same.mean == pytest.approx(0.1)
    assert np.isnan([same.reach, same.p]).all()


def test_models_are_compared_with_the_best_one_by_seed() -> None:
    found = seed_study.paired(ROWS, 10, ratio=0.5)
    assert list(found.index) == ["tree", "bayes"]
    assert found.index.name == "against plain"
    assert found["difference"].tolist() == pytest.approx([-0.7, -0.7])


def test_the_picture_repeats_to_the_byte_and_needs_no_second_run(tmp_path: Path) -> None:
    for name, rows in (("a", ROWS), ("b", ROWS), ("single", ROWS[ROWS["seed"] == 0])):
        plots.over_seeds(tmp_path / name, rows, 10, "made photos")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "single").read_bytes()
