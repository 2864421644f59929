"""Arrays that are in a file where memory would not hold them."""

import resource

import numpy as np
import pytest

from landmarks.common import arrays
from landmarks.common.errors import InputError


def test_a_large_array_is_zeros_in_a_file_and_takes_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "HELD", 1000)
    made = arrays.zeros((100, 30), np.float64, np.float32)
    assert isinstance(made, np.memmap)
    assert made.dtype == np.float32
    assert not made.any()
    made[7] = 3
    np.testing.assert_array_equal(arrays.taken(made, np.arange(100) % 7 == 0)[:2, 0], [0, 3])


def test_a_disk_without_room_for_it_is_an_error_that_says_how_much_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the first write to a page that has no place on the disk would end the process."""
    monkeypatch.setattr(arrays, "HELD", 1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, hard))
    try:
        with pytest.raises(InputError, match=r"File too large; 0\.1 GB are needed there; set TMPDIR"):
            arrays.zeros((1000, 1000, 25), np.float32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
