"""Train the demo's backbone, on landmarks that the experiment never sees."""

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
from landmarks.demo.config import BackboneConfig


def main(
    example: Annotated[Path, typer.Argument(help="World .yaml")],
    folder: Annotated[Path, typer.Argument(help="Folder to write: a TF-Hub style SavedModel")],
    backbone: BackboneConfig,
) -> None:
    """Render other synthetic landmarks and train MobileNetV2 on them from scratch. About 25 minutes on 2 cores."""
    from landmarks.demo import backbone_training  # here: --help need not load TensorFlow

    views = [
        (world.UNSEEN + landmark, view) for landmark in range(backbone.landmarks) for view in range(backbone.views)
    ]
    side = backbone.size * 5 // 4
    with tempfile.TemporaryFile() as file:
        pictures = np.memmap(file, np.uint8, shape=(len(views), side, side, 3))
        render = partial(_render, seed=world.describe(example)["seed"], side=side)
        for index, picture in enumerate(parallel.sound(parallel.each(render, views, "render"))):
            pictures[index] = picture
        class_ids = np.repeat(np.arange(backbone.landmarks), backbone.views)
        trained = backbone_training.train(pictures, class_ids, backbone)
    with whole_folder(folder) as place:
        backbone_training.export(trained, backbone.size, place)


def _render(view: tuple[int, int], seed: int, side: int) -> "np.typing.NDArray[np.uint8]":
    import cv2

    from landmarks.demo import renderer

    picture = renderer.render(seed, view[0], np.random.default_rng([seed, *view]))
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


if __name__ == "__main__":
    stage.run(main)
