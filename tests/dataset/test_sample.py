"""The sample stage takes the commonest landmarks and as many photos of each, whatever the order of the rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import Script, examples, fails_in_one_line

from landmarks.common.errors import InputError
from landmarks.dataset import catalogues, sampling, schema


def sample(rows: pa.Table, classes: int, per_class: int, reserve: int, seed: int) -> pa.Table:
    landmarks = sampling.commonest(rows["landmark_id"], classes, per_class)
    return sampling.sample(rows, landmarks, per_class, reserve, seed)


def table(**photos: int) -> pa.Table:
    """A clean table with so many photos of each landmark (L2743=3: three of landmark 2743)."""
    rows = [(f"{name}-{i}", f"http://x/{name}/{i}", name[1:]) for name, n in photos.items() for i in range(n)]
    return pa.table(dict(zip(catalogues.COLUMNS, map(list, zip(*rows, strict=True)), strict=True)))


def test_a_tie_goes_to_the_lower_id_as_a_number() -> None:
    chosen = sample(table(L9633=5, L4352=3, L2743=3, L900=3), classes=3, per_class=2, reserve=0, seed=0)
    assert sorted(set(chosen["landmark_id"].to_pylist())) == ["2743", "900", "9633"]


def test_the_reserve_stands_behind_the_chosen_in_a_fixed_order() -> None:
    rows = sample(table(L1=9, L2=4), classes=2, per_class=3, reserve=4, seed=0).to_pandas()
    assert rows.groupby("landmark_id")["reserve"].agg(list).to_dict() == {"1": [0, 0, 0, 1, 1, 1, 1], "2": [0, 0, 0, 1]}


@settings(max_examples=examples(25))
@given(st.permutations(range(30)), st.integers(0, 3))
def test_the_order_of_the_catalogue_does_not_matter(order: list[int], seed: int) -> None:
    rows = table(L1=12, L2=8, L3=8, L4=2)
    assert sample(rows.take(order), 3, 4, 2, seed) == sample(rows, 3, 4, 2, seed)


def test_a_row_more_moves_one_photo_at_most() -> None:
    before = sample(table(L1=50, L2=50), 2, 20, 0, 0)["id"].to_pylist()
    after = sample(table(L1=51, L2=50), 2, 20, 0, 0)["id"].to_pylist()
    assert len(set(after) - set(before)) <= 1


def test_another_seed_takes_other_photos() -> None:
    first, second = (set(sample(table(L1=60, L2=60), 2, 20, 0, seed)["id"].to_pylist()) for seed in (0, 1))
    assert len(first & second) < 35


def test_too_few_landmarks_or_photos_are_an_error_that_names_the_parameter() -> None:
    with pytest.raises(InputError, match=r"2 landmarks, sample\.classes asks for 3"):
        sample(table(L1=5, L2=5), 3, 1, 0, 0)
    with pytest.raises(InputError, match=r"landmark 2 has 4 photos, sample\.per_class asks for 5"):
        sample(table(L1=5, L2=4), 2, 5, 0, 0)


@settings(max_examples=examples(25))
@given(st.permutations(range(15)), st.integers(0, 6), st.integers(0, 6))
def test_of_another_source_at_most_so_many_photos_are_taken_whatever_their_order(
    order: list[int], photos: int, others: int
) -> None:
    rows = table(L1=4, L2=2, L8=5, L9=4)
    drawn = sampling.external(rows.take(order), ["1", "2", "3"], photos, others, 0)
    assert drawn == sampling.external(rows, ["1", "2", "3"], photos, others, 0)
    counts = drawn.to_pandas()["landmark_id"].value_counts()
    assert [counts.get(name, 0) for name in ("1", "2", "unknown")] == [min(photos, 4), min(photos, 2), min(others, 9)]
    assert all(schema.is_external(photo) for photo in drawn["id"].to_pylist())


def test_photos_from_elsewhere_are_added_and_change_none_of_the_others(script: Script, tmp_path: Path) -> None:
    pyarrow.parquet.write_table(table(L1=5, L2=5), tmp_path / "clean.parquet")
    (tmp_path / "other.csv").write_text("id,url,landmark_id\nL1-0,http://y/a,1\nb,http://y/b,None\nc,http://y/c,7\n")
    common = ("--classes", 2, "--per-class", 3, "--reserve", 1, "--unknown", 0, "--source")
    written = {}
    for source in ("data/external.csv", str(tmp_path / "other.csv")):
        done = script("sample", tmp_path / "clean.parquet", tmp_path / "out.csv", *common, source)
        assert done.returncode == 0, done.stderr
        written[source] = (tmp_path / "out.csv").read_text()
    without, with_them = written.values()
    assert with_them == f"{without}external.L1-0,http://y/a,1,0\nexternal.c,http://y/c,unknown,0\n"
    (tmp_path / "other.csv").write_text("id,url,landmark_id\nx/y,http://y/a,1\n")
    done = script("sample", tmp_path / "clean.parquet", tmp_path / "out.csv", *common, source)
    fails_in_one_line(done, "other.csv", "row 2", "the id 'x/y' cannot name a file")


def test_a_misspelt_parameter_is_an_error_that_suggests_the_right_one(script: Script, tmp_path: Path) -> None:
    pyarrow.parquet.write_table(table(L1=5, L2=5), tmp_path / "clean.parquet")
    done = script("sample", tmp_path / "clean.parquet", tmp_path / "out.csv", "--classes", 2, "--per_clas", 3)
    assert done.returncode == 2
    assert "--per-class" in done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_the_script_says_so_in_one_line(script: Script, tmp_path: Path) -> None:
    pyarrow.parquet.write_table(table(L1=5, L2=5), tmp_path / "clean.parquet")
    fails_in_one_line(script("sample", tmp_path / "clean.parquet", tmp_path / "out.csv"), "sample.classes asks for 10")
    assert not (tmp_path / "out.csv").exists()


def test_photos_of_other_landmarks_are_one_of_each_while_there_are_enough_and_carry_no_name() -> None:
    rows = table(L1=9, L2=9, L3=4, L4=4, L5=4)
    names = sampling.others(rows["landmark_id"], ["1", "2"], 9, 0)
    assert sorted(names) == ["3", "4", "5"]
    drawn = sampling.unknown(rows, names, 5, 2, 0).to_pandas()
    assert set(drawn["landmark_id"]) == {schema.UNKNOWN}
    assert list(drawn["reserve"]) == [0, 0, 0, 0, 0, 1, 1]
    first = drawn["id"][:3].str[:2]
    assert sorted(first) == ["L3", "L4", "L5"]
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = rows.take(pa.array(order))
    assert sampling.unknown(shuffled, names, 5, 2, 0).to_pandas().equals(drawn)
    with pytest.raises(InputError, match=r"12 photos of other landmarks, sample.unknown asks for 13"):
        sampling.unknown(rows, names, 13, 0, 0)
