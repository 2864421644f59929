"""Where stderr is no terminal, progress is a line a tenth, and none of work that is quick."""

from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landmarks.common import progress


@pytest.fixture
def at_once() -> Iterator[None]:
    """Lines come as soon as a tenth is done, not ten seconds after the last one."""
    with mock.patch.object(progress, "APART", 0):
        yield


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(total=st.integers(1, 300))
def test_each_tenth_is_told_once_and_the_last_is_the_whole(
    at_once: None, capsys: pytest.CaptureFixture[str], total: int
) -> None:
    assert list(progress.over(iter(range(total)), total, "keypoints")) == list(range(total))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == min(total, 10)
    assert lines[-1] == f"keypoints: {total} of {total} photos"


def test_work_that_is_quick_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(list(progress.over(iter(range(50)), 50, "keypoints"))) == 50
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("at_once")
def test_bytes_are_told_as_megabytes_and_what_has_no_end_by_its_count(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar(20_000_000, "fetch", "B") as steps:
        steps.update(10_000_000)
    with progress.bar(None, "rows", "row") as steps:
        steps.set_postfix(loss="0.5")
        steps.update(7)
    assert capsys.readouterr().err.splitlines() == ["fetch: 10 of 20 MB", "rows: 7 rows, loss 0.5"]
