"""The experiment with other seeds: mean and standard deviation, and a chart of both."""

from pathlib import Path

import pandas as pd
import pytest

from landmarks.evaluation import seed_study
from landmarks.reporting import plots

ROWS = pd.DataFrame(
    [
        (model, seed, n, 0.5, (0.9 if model == "plain" else 0.1 + n / 100) + seed / 10)
        for n in (5, 10) for seed in (0, 1, 2) for model in ("tree", "plain", "bayes")
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


def test_the_picture_repeats_to_the_byte_and_needs_no_second_run(tmp_path: Path) -> None:
    for name, rows in (("a", ROWS), ("b", ROWS), ("single", ROWS[ROWS["seed"] == 0])):
        plots.over_seeds(tmp_path / name, rows, 10, "made photos")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "single").read_bytes()
