"""Network and keypoints, asked together: they err on different photos."""

from pathlib import Path
from typing import Annotated

import typer

import stage
from landmarks.classical import classifiers, features_file, saved_models
from landmarks.common.errors import InputError
from landmarks.dataset import tables


def main(
    anonymous: Annotated[Path, typer.Argument(help="Folder of the anonymize stage")],
    described: Annotated[
        Path, typer.Argument(help="File of the keypoints stage that the classical model was made with")
    ],
    split: Annotated[Path, typer.Argument(help="CSV of the split stage")],
    network: Annotated[Path, typer.Argument(help="JSON of the cnn stage, its weights beside it")],
    classical: Annotated[Path, typer.Argument(help="File of the baseline stage")],
    predictions: Annotated[
        Path, typer.Argument(help="CSV to write: id, actual, predicted, confidence, for every photo")
    ],
) -> None:
    """Give each landmark the mean of the probabilities that the two models give it: each is calibrated already."""
    from landmarks.deep import classifier, image_cache  # here: --help need not wait for TensorFlow

    found = features_file.read(described)
    parts = tables.read_split(split, found.ids, found.landmarks)
    keypoints = saved_models.load(classical, found.settings)
    deep = classifier.load(network)
    if set(deep.labels) != set(keypoints.classes_):
        raise InputError(f"{network} and {classical} know different landmarks; run: dvc repro cnn baseline")
    pictures = image_cache.cached(anonymous, list(parts.index), deep.recipe.size, deep.recipe.crop)
    seen = deep.probabilities(pictures)
    same = [deep.labels.index(label) for label in keypoints.classes_]
    shares = (seen[:, same] + classifiers.probabilities(keypoints, found.values)) / 2
    tables.write_predictions(predictions, parts.index, parts["landmark_id"], keypoints.classes_, shares)


if __name__ == "__main__":
    stage.run(main)
