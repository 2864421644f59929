"""Vectors of photos by a frozen backbone: on threads of this process, or by the workers of a cluster, the same bytes."""

import functools
import hashlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from landmarks.common import parallel
from landmarks.common.errors import InputError
from landmarks.deep import augmentation, backbones, classifier
from landmarks.deep.classifier import BLOCK, Features
from landmarks.deep.config import Recipe
from landmarks.deep.runtime import tf
from landmarks.images.photo_store import Photo, PhotoStore

Squares = NDArray[np.uint8]
ForwardPass = Callable[[Squares], Features]
REFUSED = "give all machines the same module and the same kind of processor, or unset LANDMARKS_CLUSTER"


class Asked(NamedTuple):
    """A photo, and how many augmented views of it are wanted."""

    id: str
    photo: Photo
    augmented: int


@dataclass(frozen=True)
class Block:
    """Photos that are worked on together."""

    photos: tuple[Asked, ...]

    @property
    def id(self) -> str:
        """What an error calls them."""
        return " or ".join(asked.id for asked in self.photos)


def each(
    backbone: backbones.Backbone, store: PhotoStore, recipe: Recipe, augmented: dict[str, int]
) -> Generator[list[Features]]:
    """Of photos in a store, by id the number of augmented views: in lists, the vectors of each photo's views.

    They are float32 (views + augmented, dimensions). The recipe has the backbone's size.
    Raises ``InputError`` if a photo cannot be read, or a worker of the cluster has another backbone or gives other vectors.
    """
    forward_pass = backbones.compiled(backbone)
    asked = (Asked(photo, store[photo], count) for photo, count in augmented.items())
    blocks = [Block(tuple(some)) for some in parallel.batched(asked, max(BLOCK // len(recipe.preprocessing.views), 1))]
    if parallel.on_cluster():
        there = partial(_on_worker, recipe=recipe, expected=_mark(forward_pass, recipe))
        return parallel.sound(parallel.each(there, blocks, None, shared=store.needs_folder))
    return parallel.threads(partial(_passed, forward_pass=forward_pass, recipe=recipe), blocks)


def _on_worker(block: Block, recipe: Recipe, expected: str) -> list[Features]:
    return _passed(block, _loaded(recipe, expected), recipe)


@functools.lru_cache(maxsize=1)
def _loaded(recipe: Recipe, expected: str) -> ForwardPass:
    """The backbone of a recipe, loaded once a worker. Raises ``InputError`` unless its vectors are marked as ``expected``."""
    _one_thread()
    sizes = recipe if len(recipe.training.module) == 1 else recipe.at(0)  # several modules have sizes of their own
    forward_pass = backbones.compiled(classifier.load_backbone(sizes))
    if _mark(forward_pass, recipe) != expected:
        raise InputError(f"cnn.module {', '.join(recipe.training.module)}: gives other vectors on a worker; {REFUSED}")
    return forward_pass


@functools.cache
def _one_thread() -> None:
    """A worker is one of as many as there are cores; TensorFlow takes no other number once it has begun."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _mark(forward_pass: ForwardPass, recipe: Recipe) -> str:
    """The hash of what a backbone gives for squares of noise: of another file, or another processor's arithmetic, another."""
    size = recipe.preprocessing.size
    noise = np.random.default_rng(0).integers(0, 256, (BLOCK, size, size, 3), np.uint8)
    return hashlib.sha256(forward_pass(noise).tobytes()).hexdigest()


def _passed(block: Block, forward_pass: ForwardPass, recipe: Recipe) -> list[Features]:
    """By photo the vectors of its views."""
    drawn = [_views(asked, recipe) for asked in block.photos]
    squares = np.concatenate(drawn)
    parts = np.array_split(squares, -(-len(squares) // BLOCK))  # as even as can be: one square alone costs as two
    return np.split(np.concatenate([forward_pass(part) for part in parts]), np.cumsum([len(own) for own in drawn])[:-1])


def _views(asked: Asked, recipe: Recipe) -> Squares:
    """The photo's views, then its augmented ones, (n, size, size, 3)."""
    size = recipe.preprocessing.size
    squares = recipe.preprocessing.read(asked.photo).reshape(-1, size, size, 3)
    ranges = recipe.training.augmentation
    drawn = [augmentation.view(squares[0], asked.id, number, ranges, recipe.seed) for number in range(asked.augmented)]
    return np.concatenate([squares, np.stack(drawn)]) if drawn else squares
