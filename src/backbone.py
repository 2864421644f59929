"""Train the demo's feature-vector module, on landmarks that the experiment never sees."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import stage
from landmarks.common import parallel
from landmarks.common.files import whole_folder
from landmarks.demo import world

UNSEEN = 1000  # number of the first landmark that no catalogue of the made world holds


def main(
    example: Annotated[Path, typer.Argument(help="World .yaml")],
    module: Annotated[Path, typer.Argument(help="Folder to write: a TF-Hub style SavedModel")],
    landmarks: Annotated[int, typer.Option(min=2, help="How many landmarks it learns to tell apart")] = 96,
    views: Annotated[int, typer.Option(min=1, help="Photos of each")] = 80,
    size: Annotated[int, typer.Option(min=32, help="Pixels a side")] = 128,
    alpha: Annotated[float, typer.Option(help="Width of MobileNetV2: 0.35, 0.5, 0.75, 1.0")] = 0.35,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the photos")] = 24,
    batch: Annotated[int, typer.Option(min=1, help="Photos a step")] = 64,
    learning_rate: Annotated[float, typer.Option(min=0, help="Of Adam, at the start")] = 0.003,
    seed: Annotated[int, typer.Option(help="Of the training")] = 0,
) -> None:
    """Render other landmarks of the made world and train MobileNetV2 on them, from nothing. About 25 minutes on 2 cores."""
    from landmarks.demo import backbone_training  # here: --help need not load TensorFlow

    shots = [(UNSEEN + landmark, view) for landmark in range(landmarks) for view in range(views)]
    side = size * 5 // 4
    with tempfile.TemporaryFile() as file:
        pictures = np.memmap(file, np.uint8, shape=(len(shots), side, side, 3))
        shoot = partial(_shoot, seed=world.describe(example)["seed"], side=side)
        for index, picture in enumerate(parallel.sound(parallel.each(shoot, shots, "render"))):
            pictures[index] = picture
        numbers = np.repeat(np.arange(landmarks), views)
        trunk = backbone_training.train(pictures, numbers, size, alpha, epochs, batch, learning_rate, seed)
    with whole_folder(module) as folder:
        backbone_training.export(trunk, size, folder)


def _shoot(shot: tuple[int, int], seed: int, side: int) -> "np.typing.NDArray[np.uint8]":
    import cv2

    from landmarks.demo import renderer

    picture = renderer.render(seed, shot[0], np.random.default_rng([seed, *shot]))
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


if __name__ == "__main__":
    stage.run(main)
