"""Work on single photos in processes: order, errors as values, and processes that are killed."""

from functools import partial
from pathlib import Path

import pytest
from work import double

from landmarks.common import parallel


def results(folder: Path, items: list[int], killers: set[int], times: int) -> list[int | str]:
    function = partial(double, killers=frozenset(killers), folder=folder, times=times)
    made = parallel.each(function, items, "double")
    return [str(result.error) if isinstance(result, parallel.Failure) else result for result in made]


@pytest.fixture(autouse=True)
def two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDMARKS_WORKERS", "2")


def test_a_process_that_is_killed_once_costs_no_result(tmp_path: Path) -> None:
    expected = results(tmp_path, list(range(70)), set(), 0)
    assert expected == [2 * item if item != 11 else "11" for item in range(70)]
    assert results(tmp_path, list(range(70)), {5, 40}, times=1) == expected
    assert {path.name for path in tmp_path.iterdir()} == {"5.0", "40.0"}


def test_an_item_that_ends_its_process_again_is_named_and_the_others_have_their_results(tmp_path: Path) -> None:
    expected = results(tmp_path, list(range(40)), set(), 0)
    made = results(tmp_path, list(range(40)), {3, 4, 39}, times=9)
    for item in (3, 4, 39):
        assert str(made[item]).startswith(f"photo {item}: the process that worked on it alone was killed")
        expected[item] = made[item]
    assert made == expected
    assert (tmp_path / "39.1").exists()  # the only one of its block that kills: tried with others, then alone


def test_a_lone_item_that_ends_its_process_does_not_end_this_one(tmp_path: Path) -> None:
    (made,) = results(tmp_path, [7], {7}, times=9)
    assert str(made).startswith("photo 7: ")
    assert {path.name for path in tmp_path.iterdir()} == {"7.0", "7.1"}


def test_work_that_needs_all_results_ends_with_the_name_of_the_item(tmp_path: Path) -> None:
    function = partial(double, killers=frozenset({2}), folder=tmp_path, times=9)
    with pytest.raises(parallel.KilledError, match="photo 2: "):
        list(parallel.sound(parallel.each(function, range(5), "double")))


def test_what_is_stopped_early_after_a_kill_ends(tmp_path: Path) -> None:
    function = partial(double, killers=frozenset({1}), folder=tmp_path, times=9)
    made = parallel.each(function, range(20), "double")
    assert next(made) == 0
    assert isinstance(next(made), parallel.Failure)
    made.close()
