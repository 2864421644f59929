"""Which photos are copies of each other, by hashes of what they show (``landmarks.images.perceptual_hash``).

Hashes are packed bits, uint8 (n, bytes). No photo is compared with all others: two hashes that differ in few bits agree in most
parts, so that it is enough to compare those with a part in common (multi-index hashing: Norouzi, Punjani, Fleet, 2012).
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landmarks.common.errors import InputError

Hashes = NDArray[np.uint8]
Indices = NDArray[np.int64]

BITS = 256
MIRROR = np.uint8(0x55)  # mirroring a photo changes the sign of each second frequency, that is every second bit
WIDEST = 22  # bits of a key: its table has 2 ** 22 entries
MOST_COMPARED = 1 << 21  # pairs held in memory at once
MOST_JOINED = 1 << 20  # pairs of near-duplicates kept before they are merged
KEY_COST, PAIR_COST, ENTRY_COST = 10, 30, 2  # ns of a key looked up, of a pair compared, of an entry of a table


def parsed(path: Path, hashes: Mapping[str, str]) -> Hashes:
    """Hashes by photo, in hexadecimal digits, as uint8 (n, 32).

    Raises ``InputError`` naming the photo and ``path``, the file that they are from, if one is no hash of 256 bits.
    """
    for photo, text in hashes.items():
        if not re.fullmatch(f"[0-9a-f]{{{BITS // 4}}}", text):
            raise InputError(f"{path}: {photo}: {text!r} is no hash of {BITS} bits; run: dvc repro --force anonymize")
    return np.frombuffer(bytes.fromhex("".join(hashes.values())), np.uint8).reshape(-1, BITS // 8)


def groups(hashes: Hashes, distance: int) -> Indices:
    """Number photos so that copies, mirrored or not, have one number, directly or through others: int64 (n,).

    Copies are photos whose hashes (uint8 (n, 32)) differ in ``distance`` bits at most. Equal hashes are compared once.
    """
    distinct, place = np.unique(hashes, axis=0, return_inverse=True)
    joined = _Components(len(distinct))
    for asked in (distinct, distinct ^ MIRROR):
        for pair in pairs(distinct, asked, distance):
            joined.add(pair)
    return joined.numbers()[place.ravel()]


def pairs(hashes: Hashes, asked: Hashes, distance: int) -> Iterator[NDArray[np.int64]]:
    """All (i, j), i < j, for which ``asked[i]`` and ``hashes[j]`` differ in ``distance`` bits at most: (pairs, 2), a part at a time.

    The two have one shape, uint8 (n, bytes). A pair may come more than once.
    """
    plan = Plan.cheapest(len(hashes), hashes.shape[1] * 8, distance)
    left, right = (_words(side) for side in (asked, hashes))
    for first, second in candidates(hashes, asked, plan):
        differ = np.zeros(len(first), np.uint16)
        for one, other in zip(left, right, strict=True):
            differ += np.bitwise_count(one[first] ^ other[second])
        near = differ <= distance
        if near.any():
            yield np.stack([first[near], second[near]], axis=1)


@dataclass(frozen=True)
class Plan:
    """How pairs are found: hashes are cut into ``bands``; two are compared if a band differs in ``radius`` bits at most.

    Two hashes within a distance below ``bands * (radius + 1)`` have such a band, so none is missed. Of each band, ``width`` bits
    make the key that is looked up; with 0 bits all pairs are compared.
    """

    bands: int
    radius: int
    width: int

    @classmethod
    def cheapest(cls, count: int, bits: int, distance: int) -> "Plan":
        """The plan that costs least for ``count`` random hashes of so many ``bits`` and finds all pairs within ``distance``."""
        widest = min(WIDEST, count.bit_length() + 1)
        by_radius = ((distance // (radius + 1) + 1, radius) for radius in range(min(distance, 3) + 1))
        plans = [cls(bands, radius, min(widest, bits // bands)) for bands, radius in by_radius if bands <= bits]
        return min([*plans, cls(1, 0, 0)], key=lambda plan: plan.cost(count))

    def masks(self) -> list[int]:
        """What a key may differ by."""
        flipped = (itertools.combinations(range(self.width), count) for count in range(self.radius + 1))
        return [sum(1 << bit for bit in bits) for bits in itertools.chain.from_iterable(flipped)]

    def lookups(self, count: int) -> int:
        """How many keys are looked up for ``count`` hashes."""
        return self.bands * len(self.masks()) * count

    def cost(self, count: int) -> float:
        """Expected nanoseconds."""
        looked_up = self.lookups(count)
        compared = looked_up * count / 2**self.width
        return KEY_COST * looked_up + PAIR_COST * compared + ENTRY_COST * self.bands * 2**self.width


def candidates(hashes: Hashes, asked: Hashes, plan: Plan) -> Iterator[tuple[Indices, Indices]]:
    """The pairs that ``plan`` compares, i < j: i of ``asked``, j of ``hashes``; some more than once, a part at a time."""
    for band in range(plan.bands):
        stored, wanted = (_keys(side, band, plan) for side in (hashes, asked))
        order = np.argsort(stored, kind="stable")
        starts = np.searchsorted(stored[order], np.arange(2**plan.width + 1))
        for mask in plan.masks():
            first = starts[wanted ^ mask]
            counts = starts[(wanted ^ mask) + 1] - first
            for part in _parts(counts):
                index = np.repeat(np.arange(len(counts))[part], counts[part])
                offsets = first[part] - counts[part].cumsum() + counts[part]  # of the first of each run, less its place
                other = order[np.arange(len(index)) + np.repeat(offsets, counts[part])]
                yield index[index < other], other[index < other]


def _parts(counts: Indices) -> Iterator[slice]:
    """Slices of ``counts``, each of which adds up to ``MOST_COMPARED`` or little more."""
    ends = counts.cumsum()
    cuts = np.searchsorted(ends, np.arange(MOST_COMPARED, ends[-1], MOST_COMPARED)) + 1
    return itertools.starmap(slice, itertools.pairwise([0, *cuts.tolist(), len(counts)]))


def _keys(hashes: Hashes, band: int, plan: Plan) -> Indices:
    """The key of each hash in a band, which takes every ``bands``-th bit: neighbouring bits depend on each other."""
    keys = np.zeros(len(hashes), np.int64)
    for place in range(plan.width):
        bit = band + place * plan.bands
        keys |= (hashes[:, bit // 8] >> np.uint8(7 - bit % 8) & 1).astype(np.int64) << place
    return keys


def _words(hashes: Hashes) -> list[NDArray[np.uint64]]:
    """The hashes as words of 64 bits, a column each."""
    padded = np.pad(hashes, ((0, 0), (0, -hashes.shape[1] % 8)))
    return list(np.ascontiguousarray(padded.view(np.uint64).T))


class _Components:
    """Connected components of a graph that is given edge by edge; holds few of the edges."""

    def __init__(self, count: int) -> None:
        self._numbers: Indices = np.arange(count)
        self._edges: list[NDArray[np.int64]] = []

    def add(self, edges: NDArray[np.int64]) -> None:
        """Join the ends of ``edges``, (n, 2)."""
        self._edges.append(edges)
        if sum(map(len, self._edges)) > MOST_JOINED:
            self._merge()

    def numbers(self) -> Indices:
        """The component of each node."""
        self._merge()
        return self._numbers

    def _merge(self) -> None:
        from scipy.sparse import coo_array  # here: who only divides need not wait for it
        from scipy.sparse.csgraph import connected_components

        if self._edges:
            ends = self._numbers[np.concatenate(self._edges)]
            shape = (len(self._numbers), len(self._numbers))
            graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=shape)
            self._numbers = np.asarray(connected_components(graph, directed=False)[1], np.int64)[self._numbers]
            self._edges = []
