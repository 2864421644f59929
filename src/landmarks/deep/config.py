"""How a network is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from landmarks.deep.augmentation import Ranges

Kind = Literal["frozen", "two-phase", "thesis"]


@dataclass(frozen=True)
class Recipe:
    """How to train: the knobs of the cnn stage, whose ``--help`` explains them."""

    module: str
    size: int
    low: float
    high: float
    crop: bool
    kind: Kind
    augment: bool
    views: int
    head: tuple[int, ...]
    dropout: float
    l2: float
    epochs: int
    batch: int
    learning_rate: float
    cosine: bool
    momentum: float
    label_smoothing: float
    restore_best: bool
    patience: int
    tuned: float
    tuning_rate: float
    tuning_epochs: int
    ranges: Ranges
    seed: int
