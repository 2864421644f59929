"""Copies are found among many photos without comparing all with all, and none is missed."""

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmarks.common.errors import InputError
from landmarks.dataset import near_duplicates
from landmarks.dataset.near_duplicates import Hashes, Plan


def related(seed: int, families: int, members: int, size: int, share: float) -> Hashes:
    """Hashes in families: each differs from the first of its family in about ``share`` of the bits, or less."""
    rng = np.random.default_rng(seed)
    first = rng.random((families, 1, size * 8)) < 0.5
    changed = rng.random((families, members, size * 8)) < share * rng.random((families, members, 1))
    return rng.permutation(np.packbits(first ^ changed, axis=2).reshape(-1, size))


def distances(asked: Hashes, hashes: Hashes) -> np.ndarray:
    """All of them, the slow way."""
    return np.bitwise_count(asked[:, None] ^ hashes[None]).sum(axis=2, dtype=int)


def found(parts: Iterator[np.ndarray]) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for part in parts for i, j in part}


def near(asked: Hashes, hashes: Hashes, distance: int) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in np.argwhere(distances(asked, hashes) <= distance) if i < j}


@given(st.integers(0, 2**32), st.sampled_from([1, 5, 8, 32]), st.integers(0, 60), st.integers(1, 9))
def test_the_pairs_found_are_exactly_those_within_the_distance(seed: int, size: int, distance: int, part: int) -> None:
    hashes, asked = (related(seed, 8, 5, size, 0.3) for _ in range(2))
    asked[::3] = related(seed + 1, 8, 5, size, 0.3)[::3]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "MOST_COMPARED", part)  # however the comparisons are cut into parts
        assert found(near_duplicates.pairs(hashes, asked, distance)) == near(asked, hashes, distance)


@given(st.integers(0, 2**32), st.integers(0, 3), st.integers(1, 12), st.integers(0, 10))
def test_no_plan_misses_a_pair(seed: int, radius: int, bands: int, width: int) -> None:
    hashes = related(seed, 8, 5, 16, 0.2)
    plan = Plan(bands, radius, min(width, 128 // bands))
    compared = found(np.stack(two, axis=1) for two in near_duplicates.candidates(hashes, hashes, plan))
    assert near(hashes, hashes, bands * (radius + 1) - 1) <= compared


@given(st.integers(1, 10**7), st.sampled_from([8, 64, 256]), st.integers(0, 300))
def test_the_cheapest_plan_finds_all_pairs_within_its_distance(count: int, bits: int, distance: int) -> None:
    plan = Plan.cheapest(count, bits, distance)
    assert plan.width == 0 or plan.bands * (plan.radius + 1) > distance
    assert plan.width * plan.bands <= bits


@given(st.integers(0, 2**32), st.integers(0, 40))
def test_a_group_holds_copies_mirrored_copies_and_chains_of_them(seed: int, distance: int) -> None:
    hashes = related(seed, 4, 5, 32, 0.2)
    hashes[::2] ^= near_duplicates.MIRROR
    either = np.minimum(distances(hashes, hashes), distances(hashes ^ near_duplicates.MIRROR, hashes))
    chained = either <= distance
    for _ in range(5):  # the transitive closure, the slow way
        chained = chained @ chained
    np.testing.assert_array_equal(np.equal.outer(*[near_duplicates.groups(hashes, distance)] * 2), chained)


def test_work_grows_far_more_slowly_than_the_number_of_pairs() -> None:
    """Keys looked up and hashes compared, counted; twice the photos have four times the pairs."""
    work = []
    for count in (2000, 4000, 8000):
        hashes = np.random.default_rng(0).integers(0, 256, (count, 32), np.uint8)
        plan = Plan.cheapest(count, 256, 40)
        compared = sum(len(first) for first, _ in near_duplicates.candidates(hashes, hashes, plan))
        work.append(plan.lookups(count) + compared)
    assert work[-1] < 8000 * 7999 / 2 / 5
    assert max(later / earlier for earlier, later in pairwise(work)) < 2.8, work


def test_the_same_photo_a_hundred_thousand_times_is_one_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.repeat(related(0, 2, 1, 32, 0), 50_000, axis=0)
    sizes: list[int] = []
    compare = near_duplicates.pairs

    def counted(distinct: Hashes, asked: Hashes, distance: int) -> Iterator[np.ndarray]:
        sizes.append(len(distinct))
        return compare(distinct, asked, distance)

    monkeypatch.setattr(near_duplicates, "pairs", counted)
    assert len(set(near_duplicates.groups(hashes, 40))) == 2
    assert sizes == [2, 2]


def test_memory_is_bounded_where_everything_resembles_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("MOST_COMPARED", "MOST_JOINED"):
        monkeypatch.setattr(near_duplicates, bound, 5000)
    hashes = related(0, 1, 1000, 32, 0.05)  # 499,500 pairs, 8 MB
    assert len(set(near_duplicates.groups(hashes[:9], 40))) == 1  # scipy is imported
    tracemalloc.start()
    assert len(set(near_duplicates.groups(hashes, 40))) == 1
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("text", ["", "ab" * 31, "ab" * 33, "x" * 64])
def test_what_is_no_hash_is_an_error_that_names_file_and_photo(text: str) -> None:
    with pytest.raises(InputError, match=rf"faces\.json: p2: '{text}' is no hash .*dvc repro --force anonymize"):
        near_duplicates.parsed(Path("faces.json"), {"p1": "ab" * 32, "p2": text})
