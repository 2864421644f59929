"""An interval that knows that near-duplicates are right or wrong together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import examples

from landmarks.evaluation import bootstrap


def test_of_photos_that_are_no_duplicates_it_is_as_wide_as_wilsons() -> None:
    right = np.arange(200) % 10 != 0
    assert bootstrap.over_groups(right, np.arange(200)) == pytest.approx((0.8506, 0.9344), abs=0.01)  # Wilson's


def test_photos_in_groups_of_four_count_as_a_quarter_as_many() -> None:
    right = np.repeat(np.arange(50) % 10 != 0, 4)
    low, high = bootstrap.over_groups(right, np.repeat(np.arange(50), 4))
    assert (low, high) == pytest.approx((0.81, 0.97), abs=0.03)
    alone = bootstrap.over_groups(right, np.arange(200))
    assert high - low == pytest.approx(2 * (alone[1] - alone[0]), rel=0.15)


@settings(max_examples=examples(40))
@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), min_size=1, max_size=30))
def test_the_names_of_the_groups_do_not_matter(rows: list[tuple[bool, str]]) -> None:
    right, groups = np.array([row[0] for row in rows]), [row[1] for row in rows]
    low, high = bootstrap.over_groups(right, groups)
    assert 0 <= low <= high <= 1
    assert bootstrap.over_groups(right, [f"{group}{group}" for group in groups]).tolist() == [low, high]


def test_models_asked_together_get_the_intervals_that_each_gets_alone() -> None:
    right = np.random.default_rng(0).random((90, 3)) < [0.2, 0.5, 0.9]
    together = bootstrap.over_groups(right, np.arange(90) // 2)
    for model in range(3):
        np.testing.assert_array_equal(together[:, model], bootstrap.over_groups(right[:, model], np.arange(90) // 2))
