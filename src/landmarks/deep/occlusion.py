"""Where a network looks."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]


def drops(
    shares: Callable[[NDArray[np.uint8]], Features], picture: NDArray[np.uint8], number: int, cells: int
) -> tuple[float, Features]:
    """Where a network sees a landmark: what covering a patch takes from its probability (Zeiler and Fergus, 2014).

    A class-activation map would need the module's last feature map; a feature-vector module gives its mean alone.

    Of ``picture``, the views of a photo one below the other, uint8 RGB (views * size, size, 3), the first is looked at:
    ``cells`` places a side are covered; the patch, of the view's mean colour, is as wide as two. ``shares`` makes probabilities (n, labels) of pictures. Returns the probability of the label ``number``
    in the whole view, and how far it falls, float32 (cells, cells): below 0 where it rises.
    """
    side = picture.shape[1]
    picture = picture[:side]
    edges = np.linspace(0, side, cells + 1).round().astype(int)
    covered = np.repeat(picture[None], cells * cells, axis=0)
    for place, (row, column) in enumerate(np.ndindex(cells, cells)):
        reach = [slice(max(edges[i] - side // cells // 2, 0), edges[i + 1] + side // cells // 2) for i in (row, column)]
        covered[place, reach[0], reach[1]] = picture.mean(axis=(0, 1))
    whole_view = float(shares(picture[None])[0, number])
    left = shares(covered)[:, number]
    return whole_view, np.asarray((whole_view - left).reshape(cells, cells), np.float32)
