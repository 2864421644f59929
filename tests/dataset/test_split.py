"""One split for every model: stratified, seeded, and near-duplicates never on both sides."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import Script, examples, fails_in_one_line

from landmarks.common.errors import InputError
from landmarks.dataset import schema, splitting


def outputs(folder: Path) -> list[Path]:
    return [folder / name for name in ("s.csv", "u.csv", "c.json")]


def test_every_landmark_is_divided_by_the_same_shares() -> None:
    ids, landmarks = [f"p{i}" for i in range(100)], ["a", "b"] * 50
    parts = pd.Series(splitting.split(ids, landmarks, np.arange(100), 0.3, 0.14, 0))
    counts = pd.crosstab(pd.Series(landmarks), parts)
    assert counts.to_dict("list") == {"test": [15, 15], "train": [28, 28], "validation": [7, 7]}


@settings(max_examples=examples(50))
@given(st.lists(st.tuples(st.integers(0, 25), st.sampled_from("ab")), min_size=60, max_size=90), st.integers(0, 5))
def test_a_group_is_never_torn_and_the_order_does_not_matter(rows: list[tuple[int, str]], seed: int) -> None:
    groups, landmarks = np.array([g for g, _ in rows]), [name for _, name in rows]
    ids = [f"p{i:03}" for i in range(len(rows))]
    try:
        parts = splitting.split(ids, landmarks, groups, 0.3, 0.2, seed)
    except InputError:
        return
    for group in set(groups):
        assert len({part for part, g in zip(parts, groups, strict=True) if g == group}) == 1
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = splitting.split([ids[i] for i in order], [landmarks[i] for i in order], groups[order], 0.3, 0.2, seed)
    assert [shuffled[list(order).index(i)] for i in range(len(rows))] == parts


def test_a_landmark_too_small_to_divide_is_an_error_that_names_it() -> None:
    with pytest.raises(InputError, match=r"landmark b: its 2 photos leave none for \w+; raise sample\.per_class, to 3"):
        splitting.split([f"p{i}" for i in range(12)], ["a"] * 10 + ["b"] * 2, np.arange(12), 0.3, 0.2, 0)


@pytest.mark.parametrize(
    ("count", "test", "validation"), [(3, 0.3, 0.14), (5, 0.3, 0.14), (4, 0.02, 0.02), (5, 0.6, 0.3)]
)
def test_three_photos_of_a_landmark_are_enough_whatever_the_shares(count: int, test: float, validation: float) -> None:
    ids, landmarks = [f"p{i}" for i in range(2 * count)], ["a", "b"] * count
    parts = splitting.split(ids, landmarks, np.arange(2 * count), test, validation, 0)
    assert set(zip(landmarks, parts, strict=True)) == {(name, part) for name in "ab" for part in schema.PARTS}


def test_groups_larger_than_a_share_are_divided_where_there_are_three() -> None:
    ids, landmarks, groups = [f"p{i}" for i in range(8)], ["a"] * 8, np.arange(8) // 2
    assert set(splitting.split(ids, landmarks, groups, 0.3, 0.14, 0)) == set(schema.PARTS)
    with pytest.raises(
        InputError, match=r"its 8 photos, 2 if near-duplicates are counted once, .*split\.duplicate_bits"
    ):
        splitting.split(ids, landmarks, np.arange(8) // 4, 0.3, 0.14, 0)


@settings(max_examples=examples(40))
@given(st.integers(0, 2**32), st.integers(0, 12))
def test_near_duplicates_are_exactly_the_pairs_within_the_distance_and_their_chains(seed: int, distance: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.random((6, 64)) < 0.5
    hashes = np.concatenate([base, base ^ (rng.random((6, 64)) < 0.08), base ^ (rng.random((6, 64)) < 0.15)])
    near = (hashes[:, None] ^ hashes[None]).sum(axis=2) <= distance
    for _ in range(5):  # the transitive closure, the slow way
        near = near @ near
    np.testing.assert_array_equal(np.equal.outer(*[splitting.near_duplicates(hashes, distance)] * 2), near)


def test_the_script_counts_what_it_did(script: Script, photos: Path, tmp_path: Path) -> None:
    done = script("split", photos / "photos.csv", photos / "images", *outputs(tmp_path), "--validation", 0.2)
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "s.csv", dtype=str)
    assert list(rows.columns) == ["id", "landmark_id", "split", "group"]
    assert json.loads((tmp_path / "c.json").read_text()) == {
        "photos": 36, "train": 18, "validation": 6, "test": 12, "near_duplicates": 0, "landmarks": 3,
        "unknown": 0, "unknown_left_out": 0, "external": 0, "external_unknown": 0, "external_left_out": 0,
    }  # fmt: skip


@settings(max_examples=examples(40))
@given(st.integers(0, 2**32), st.integers(0, 12))
def test_photos_from_elsewhere_change_no_group_and_those_that_resemble_one_of_ours_are_found(
    seed: int, distance: int
) -> None:
    rng = np.random.default_rng(seed)
    base = rng.random((6, 64)) < 0.5
    hashes = np.concatenate([base, base ^ (rng.random((6, 64)) < 0.08), base ^ (rng.random((6, 64)) < 0.12)])
    external = rng.random(18) < 0.4
    grouped = functools.partial(splitting.near_duplicates, distance=distance)
    groups, copies = splitting.apart(grouped, hashes, external)
    alone = splitting.near_duplicates(hashes[~external], distance)
    np.testing.assert_array_equal(groups[~external], alone)
    assert not set(groups[external]) & set(alone)
    near = (hashes[:, None] ^ hashes[None]).sum(axis=2) <= distance
    assert set(np.flatnonzero(external & near[:, ~external].any(axis=1))) <= set(np.flatnonzero(copies))
    assert not (copies & ~external).any()


def test_photos_from_elsewhere_are_a_part_of_their_own_without_copies_of_ours(
    script: Script, photos: Path, strangers: Path, tmp_path: Path
) -> None:
    known = pd.read_csv(photos / "photos.csv", dtype=str)[["id", "landmark_id"]]
    folder = tmp_path / "images"
    shutil.copytree(photos / "images", folder)
    for photo, source in (("a", "u100_0"), ("b", "u101_0"), ("copy", "p1_00")):
        shutil.copy(strangers / "images" / f"{source}.jpg", folder / f"external.{photo}.jpg")
    rows = [("external.a", "1"), ("external.b", "unknown"), ("external.copy", "1")]
    pd.concat([known, pd.DataFrame(rows, columns=known.columns)]).to_csv(tmp_path / "photos.csv", index=False)
    out = outputs(tmp_path)
    done = script("split", tmp_path / "photos.csv", folder, *out)
    assert done.returncode == 0, done.stderr
    written = pd.read_csv(out[0], dtype=str)
    external = written["id"].map(schema.is_external)
    assert written[external][["id", "landmark_id", "split"]].to_numpy().tolist() == [
        ["external.a", "1", "external"], ["external.copy", "1", "copy"],
    ]  # fmt: skip
    assert list(pd.read_csv(out[1])["id"]) == ["external.b"]
    counts = json.loads(out[2].read_text())
    assert [counts[name] for name in ("photos", "external", "external_unknown", "external_left_out")] == [36, 1, 1, 1]
    script("split", photos / "photos.csv", photos / "images", *outputs(tmp_path))
    assert pd.read_csv(out[0], dtype=str).equals(written[~external].reset_index(drop=True))


def test_shares_that_leave_nothing_for_training_are_an_error(script: Script, photos: Path, tmp_path: Path) -> None:
    shares = ("--test", 0.6, "--validation", 0.4)
    done = script("split", photos / "photos.csv", photos / "images", *outputs(tmp_path), *shares)
    fails_in_one_line(done, "split.test 0.6", "split.validation 0.4")
    assert not list(tmp_path.iterdir())


def test_a_photo_that_is_in_no_table_is_an_error_that_names_it(script: Script, photos: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(photos / "photos.csv", dtype=str)
    rows[rows["id"] != "p1_00"].to_csv(tmp_path / "d.csv", index=False)
    fails_in_one_line(script("split", tmp_path / "d.csv", photos / "images", *outputs(tmp_path)), "p1_00.jpg")


def test_photos_of_other_landmarks_are_in_no_part_and_a_near_duplicate_of_a_known_place_is_not_unknown(
    script: Script, photos: Path, strangers: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(strangers / "images", folder)
    shutil.copy(folder / "p1_00.jpg", folder / "u100_0.jpg")
    known = pd.read_csv(photos / "photos.csv", dtype=str)[["id", "landmark_id"]]
    other = pd.read_csv(strangers / "unknown.csv").assign(landmark_id="unknown")
    pd.concat([known, other]).to_csv(tmp_path / "photos.csv", index=False)
    out = outputs(tmp_path)
    done = script("split", tmp_path / "photos.csv", folder, *out)
    assert done.returncode == 0, done.stderr
    assert set(pd.read_csv(out[0])["id"]) == set(known["id"])
    assert set(pd.read_csv(out[1])["id"]) == set(other["id"]) - {"u100_0"}
    counts = json.loads(out[2].read_text())
    assert (counts["photos"], counts["unknown"], counts["unknown_left_out"]) == (36, 11, 1)
