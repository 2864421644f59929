"""How many photos does a model need? Smaller training sets, drawn from the one that there is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Subset:
    """A smaller training set: the photos ``chosen``, (n,), at most ``photos`` of a landmark; of all, the mean."""

    photos: float
    draw: int
    chosen: Mask


def subsets(
    landmarks: NDArray[Any], groups: NDArray[np.int64], train: Mask, sizes: Sequence[int], draws: int, seed: int
) -> Iterator[Subset]:
    """``draws`` random subsets of the training photos with at most as many of each landmark, for each of ``sizes``; then all, once.

    Sizes that no landmark exceeds are left out. Arrays are (n,), of all photos. Near-duplicates, which have one number in
    ``groups``, are drawn together or not at all: counted as several, they would teach less than as many photos do.
    """
    counts = np.unique(landmarks[train], return_counts=True)[1]
    for size in sorted(size for size in set(sizes) if size < counts.max()):
        for draw in range(draws):
            chosen = _drawn(landmarks, groups, train, size, np.random.default_rng([seed, draw]))
            yield Subset(float(size), draw, chosen)
    yield Subset(round(float(counts.mean()), 1), 0, train)


def _drawn(
    landmarks: NDArray[Any], groups: NDArray[np.int64], train: Mask, size: int, rng: np.random.Generator
) -> Mask:
    """Of each landmark, groups in a random order as long as they fit into ``size``; at least the first."""
    chosen = np.zeros(len(train), bool)
    for landmark in np.unique(landmarks[train]):
        own = train & (landmarks == landmark)
        for place, group in enumerate(rng.permutation(np.unique(groups[own]))):
            members = own & (groups == group)
            if not place or chosen[own].sum() + members.sum() <= size:
                chosen |= members
    return chosen
