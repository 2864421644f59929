"""Photos whose label may be wrong: a model that did not see them takes them for another landmark, and is sure enough of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from landmarks.common import arrays

COLUMNS = ("id", "actual", "predicted", "own_probability", "confidence")


def suspects(held_out: NDArray[np.floating[Any]], class_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of photos whose label is suspected, the most suspicious first, (m,).

    Confident learning (Northcutt, Jiang and Chuang, 2021): what probability a photo of a landmark gets of it on average, by models
    that have not seen the photo (``held_out``, (n, landmarks)), is enough to count as one of it. Suspected is a photo that by
    this counts as one of another landmark than its label, ``class_ids`` (n,), says. First comes the one whose own landmark is
    furthest behind.
    """
    if not len(class_ids):
        return np.zeros(0, np.int64)
    own = held_out[np.arange(len(class_ids)), class_ids]
    enough = [own[class_ids == one].mean() if (class_ids == one).any() else np.inf for one in range(held_out.shape[1])]
    best = np.empty_like(class_ids)
    for rows in arrays.blocks(len(best)):
        reached = np.where(held_out[rows] >= np.array(enough), held_out[rows], -1)
        best[rows] = np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), class_ids[rows])
    found = np.flatnonzero(best != class_ids)
    return found[np.argsort(own[found] - held_out[found, best[found]], kind="stable")]


def table(
    ids: Sequence[str], labels: Sequence[str], class_ids: NDArray[np.int64], held_out: NDArray[np.floating[Any]]
) -> pd.DataFrame:
    """A row (``COLUMNS``) for each suspect among the photos ``ids`` (n,)."""
    rows = suspects(held_out, class_ids)
    own, others, places = class_ids[rows], held_out[rows], np.arange(len(rows))
    own_probability = others[places, own]
    others[places, own] = -1
    best = others.argmax(axis=1)
    names = np.asarray(labels)
    columns = (
        np.asarray(ids)[rows], names[own], names[best], own_probability.round(6), others[places, best].round(6)
    )  # fmt: skip
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
