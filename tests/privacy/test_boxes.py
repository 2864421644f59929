"""Boxes are turned back to where they were, compared, and thinned out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from landmarks.privacy import boxes


@given(st.integers(0, 3), st.integers(1, 60), st.integers(1, 60), st.data())
def test_a_box_is_turned_back_to_where_it_was(turns: int, width: int, height: int, data: st.DataObject) -> None:
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    w, h = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    marked = np.zeros((height, width), np.uint8)
    marked[y : y + h, x : x + w] = 1
    rows, columns = np.nonzero(np.rot90(marked, turns))
    seen = np.array([[columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1, 1]], np.float32)
    np.testing.assert_array_equal(boxes.turn_back(seen, turns, width, height), [[x, y, w, h, 1]])


SIDE = st.integers(1, 30)
SOME = st.lists(st.tuples(SIDE, SIDE, SIDE, SIDE, st.floats(0.25, 1, width=32)), min_size=1, max_size=9)


@given(SOME)
def test_the_best_box_stays_and_no_two_that_stay_share_more_than_allowed(given: list[tuple[float, ...]]) -> None:
    found = np.array(given, np.float32)
    kept = boxes.best(found, 0.3)
    assert kept[0, 4] == found[:, 4].max()
    shared = boxes.unions(kept, kept) - np.eye(len(kept))
    assert shared.max() <= 0.3 + 1e-6
    near = boxes.unions(found, kept)
    assert (near.max(axis=1) > 0.3 - 1e-6).all()


@given(SOME, SOME)
def test_what_two_boxes_share_is_counted_in_pixels(
    one: list[tuple[float, ...]], other: list[tuple[float, ...]]
) -> None:
    def marked(box: tuple[float, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        x, y, w, h = (int(side) for side in box[:4])
        area = np.zeros((64, 64), bool)
        area[y : y + h, x : x + w] = True
        return area

    shared = boxes.unions(np.array(one, np.float32), np.array(other, np.float32))
    for row, a in enumerate(one):
        for column, b in enumerate(other):
            expected = (marked(a) & marked(b)).sum() / (marked(a) | marked(b)).sum()
            assert abs(shared[row, column] - expected) < 1e-5
