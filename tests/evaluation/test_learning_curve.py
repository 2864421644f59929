"""Smaller training sets: drawn from the one that there is, near-duplicates together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from landmarks.evaluation.learning_curve import Subset, subsets

PHOTOS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6), st.booleans()), min_size=1, max_size=40)
SIZES = st.lists(st.integers(1, 12), max_size=3)


def drawn(photos: list[tuple[str, int, bool]], sizes: list[int], seed: int = 0) -> list[Subset]:
    landmarks = np.array([landmark for landmark, _, _ in photos])
    groups = np.array(["abc".index(landmark) * 10 + group for landmark, group, _ in photos])
    train = np.array([trained for _, _, trained in photos])
    return list(subsets(landmarks, groups, train, sizes, draws=2, seed=seed))


@given(PHOTOS.filter(lambda photos: any(trained for _, _, trained in photos)), SIZES)
def test_a_subset_has_training_photos_of_every_landmark_and_whole_groups_of_near_duplicates(
    photos: list[tuple[str, int, bool]], sizes: list[int]
) -> None:
    *smaller, everything = drawn(photos, sizes)
    assert everything.chosen.tolist() == [trained for _, _, trained in photos]
    for subset in smaller:
        chosen = {place for place, taken in enumerate(subset.chosen) if taken}
        groups = {photos[place] for place in chosen}
        assert chosen == {place for place, photo in enumerate(photos) if photo in groups and photo[2]}
        assert {photo[0] for photo in groups} == {landmark for landmark, _, trained in photos if trained}


def test_a_subset_has_as_many_photos_of_each_landmark_as_it_says() -> None:
    photos = [(landmark, group, True) for landmark in "abc" for group in range(9)]
    for subset in drawn(photos, [2, 5]):
        assert subset.chosen.reshape(3, 9).sum(axis=1).tolist() == [subset.photos] * 3


def test_sizes_that_no_landmark_exceeds_are_left_out_and_all_photos_come_once() -> None:
    photos = [("a", group, True) for group in range(3)] + [("b", group, True) for group in range(2)]
    assert [(subset.photos, subset.draw) for subset in drawn(photos, [2, 3, 9])] == [(2, 0), (2, 1), (2.5, 0)]


def test_the_seed_decides_which_photos_are_drawn() -> None:
    photos = [(landmark, group, True) for landmark in "ab" for group in range(7)]
    one, again, other = (drawn(photos, [3], seed)[0].chosen.tolist() for seed in (1, 1, 2))
    assert one == again != other
