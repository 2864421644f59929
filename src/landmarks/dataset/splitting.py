"""Which photo is for training, which for selection, which for the one test."""

import hashlib
from collections import Counter, defaultdict
from itertools import product

import numpy as np
from numpy.typing import NDArray

from landmarks.common.errors import InputError
from landmarks.dataset import near_duplicates, schema


def apart(
    hashes: near_duplicates.Hashes, external: NDArray[np.bool_], distance: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """``near_duplicates.groups`` of the photos that are not ``external`` (n,) as if they were alone; and which external ones resemble these.

    ``grouped`` takes hashes (n, …) and gives group numbers (n,). External photos have groups of their own, with higher numbers.
    """
    groups, own = np.empty(len(hashes), np.int64), ~external
    groups[own] = near_duplicates.groups(hashes[own], distance)
    if not external.any():
        return groups, external
    together = near_duplicates.groups(hashes, distance)
    groups[external] = together[external] + 1 + groups[own].max(initial=0)
    return groups, external & np.isin(together, together[own])


def split(
    ids: list[str], landmarks: list[str], groups: NDArray[np.int64], test: float, validation: float, seed: int
) -> list[str]:
    """Assign each photo to train, validation or test, stratified by landmark, a group never torn.

    Groups are dealt in the order of a hash of the seed and their first id, each landmark filling test, then validation,
    then train: the order of the photos doesn't matter, and a photo more moves few others. A part that its share leaves
    without a photo of a landmark gets the landmark's smallest group from the part that has most of them.
    ``test`` and ``validation`` are shares of all photos. Raises ``InputError`` if a landmark gets no photo in one of
    the three.
    """
    members = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)

    def rank(unit: list[int]) -> bytes:
        return hashlib.blake2b(f"{seed} {min(ids[i] for i in unit)}".encode()).digest()

    total = Counter(landmarks)
    quota = {(name, "test"): round(n * test) for name, n in total.items()}
    quota |= {(name, "validation"): round(n * validation) for name, n in total.items()}
    result = [""] * len(ids)
    dealt: dict[str, dict[str, list[list[int]]]] = {name: {part: [] for part in schema.PARTS} for name in total}
    for unit in sorted(members.values(), key=rank):
        home = landmarks[min(unit, key=lambda i: ids[i])]
        part = next((part for part in ("test", "validation") if quota[home, part] >= len(unit)), "train")
        dealt[home][part].append(unit)
        if part != "train":
            quota[home, part] -= len(unit)
        for index in unit:
            result[index] = part
    there = set(zip(landmarks, result, strict=True))
    for landmark, part in product(sorted(total), schema.PARTS):
        if (landmark, part) not in there:
            _move_a_group(dealt[landmark], part, result)
    _require_parts(landmarks, groups, result)
    return result


def _move_a_group(dealt: dict[str, list[list[int]]], part: str, result: list[str]) -> None:
    """Give ``part`` the smallest group of the part that has most, if that one keeps another."""
    giver = max(dealt.values(), key=len)
    if len(giver) > 1:
        unit = giver.pop(giver.index(min(giver, key=len)))
        dealt[part].append(unit)
        for index in unit:
            result[index] = part


def _require_parts(landmarks: list[str], groups: NDArray[np.int64], result: list[str]) -> None:
    there = set(zip(landmarks, result, strict=True))
    for landmark, part in product(sorted(set(landmarks)), schema.PARTS):
        if (landmark, part) not in there:
            own = np.array(landmarks) == landmark
            count, distinct = int(own.sum()), len(np.unique(groups[own]))
            alike = "" if distinct == count else f", {distinct} if near-duplicates are counted once,"
            remedy = f"raise sample.per_class, to {len(schema.PARTS)} at least, or lower split.duplicate_bits, in params.yaml"
            raise InputError(f"landmark {landmark}: its {count} photos{alike} leave none for {part}; {remedy}")
