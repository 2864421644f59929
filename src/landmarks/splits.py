"""Which photo is for training, which for selection, which for the one test."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from landmarks.errors import InputError

NAMES = ("train", "validation", "test")


def near_duplicates(hashes: NDArray[np.bool_], distance: int) -> NDArray[np.int64]:
    """Group photos whose hashes differ in at most ``distance`` bits, directly or through others.

    Two such hashes agree exactly in one of ``distance + 1`` bands (the pigeonhole principle), so only photos that share a
    band are compared: nearly linear in the number of photos.

    Args:
        hashes: bool (n, bits).
        distance: bits; 0 groups equal hashes only.

    Returns:
        Group numbers, int64 (n,).
    """
    unique, inverse = np.unique(hashes, axis=0, return_inverse=True)
    pairs: set[tuple[int, int]] = set()
    for band in np.array_split(np.arange(hashes.shape[1]), distance + 1):
        buckets = defaultdict(list)
        for index, key in enumerate(np.packbits(unique[:, band], axis=1)):
            buckets[key.tobytes()].append(index)
        for bucket in buckets.values():
            for place, index in enumerate(bucket[:-1]):
                others = np.array(bucket[place + 1 :])
                near = others[(unique[others] ^ unique[index]).sum(axis=1) <= distance]
                pairs.update((index, int(other)) for other in near)
    ends = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(unique), len(unique)))
    return connected_components(graph, directed=False)[1].astype(np.int64)[inverse.ravel()]


def split(
    ids: list[str], landmarks: list[str], groups: NDArray[np.int64], test: float, validation: float, seed: int
) -> list[str]:
    """Assign each photo to train, validation or test, stratified by landmark, a group never torn.

    Groups are dealt in the order of a hash of the seed and their first id, each landmark filling test, then validation,
    then train: the order of the photos doesn't matter, and a photo more moves few others.
    ``test`` and ``validation`` are shares of all photos. Raises ``InputError`` if a landmark gets no photo in one of
    the three.
    """
    members = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    units = sorted(
        members.values(), key=lambda unit: hashlib.blake2b(f"{seed} {min(ids[i] for i in unit)}".encode()).digest()
    )
    total = {name: landmarks.count(name) for name in set(landmarks)}
    quota = {(name, "test"): round(n * test) for name, n in total.items()}
    quota |= {(name, "validation"): round(n * validation) for name, n in total.items()}
    result = [""] * len(ids)
    for unit in units:
        home = landmarks[min(unit, key=lambda i: ids[i])]
        name = next((part for part in ("test", "validation") if quota[home, part] >= len(unit)), "train")
        for index in unit:
            result[index] = name
        if name != "train":
            quota[home, name] -= len(unit)
    for landmark in sorted(total):
        for part in NAMES:
            if (landmark, part) not in set(zip(landmarks, result, strict=True)):
                raise InputError(
                    f"landmark {landmark}: its {total[landmark]} photos leave none for {part}; "
                    "raise sample.per_class, or change split.test and split.validation, in params.yaml"
                )
    return result
