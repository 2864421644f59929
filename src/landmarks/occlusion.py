"""Where a network looks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landmarks.networks import Features, Network


def drops(network: Network, picture: NDArray[np.uint8], label: str, cells: int) -> tuple[float, Features]:
    """Where a network sees a landmark: what covering a patch takes from its probability (Zeiler and Fergus, 2014).

    A class-activation map would need the module's last feature map; a feature-vector module gives its mean alone.

    Args:
        network: whose view it is.
        picture: uint8 RGB (size, size, 3).
        label: the landmark asked about.
        cells: places a side; the patch, of the photo's mean colour, is as wide as two of them.

    Returns:
        The probability of the whole photo, and how far it falls, float32 (cells, cells): below 0 where it rises.
    """
    side, number = network.recipe.size, network.labels.index(label)
    edges = np.linspace(0, side, cells + 1).round().astype(int)
    covered = np.repeat(picture[None], cells * cells, axis=0)
    for place, (row, column) in enumerate(np.ndindex(cells, cells)):
        reach = [slice(max(edges[i] - side // cells // 2, 0), edges[i + 1] + side // cells // 2) for i in (row, column)]
        covered[place, reach[0], reach[1]] = picture.mean(axis=(0, 1))
    whole_photo = float(network.probabilities(picture[None])[0, number])
    left = network.probabilities(covered)[:, number]
    return whole_photo, np.asarray((whole_photo - left).reshape(cells, cells), np.float32)
