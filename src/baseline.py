"""The classical models: the thesis', and what the same idea reaches."""

from pathlib import Path
from typing import Annotated

import typer

import stage
from landmarks.classical import classifiers, encodings, features_file, saved_models
from landmarks.dataset import tables


def main(
    described: Annotated[Path, typer.Argument(help="File of the keypoints stage")],
    split: Annotated[Path, typer.Argument(help="CSV of the split stage")],
    model: Annotated[Path, typer.Argument(help="File to write: a scikit-learn Pipeline, read by landmarks.models")],
    predictions: Annotated[
        Path, typer.Argument(help="CSV to write: id, actual, predicted, confidence, for every photo")
    ],
    encoding: Annotated[encodings.Encoding, typer.Option(help="How descriptors become one vector")] = "flat",
    kind: Annotated[classifiers.Kind, typer.Option(help="Classifier")] = "bayes",
    n: Annotated[int, typer.Option(min=0, help="Principal components of the vector; 0 leaves it as it is")] = 0,
    keypoints: stage.Keypoints = 32,
    words: stage.Words = 64,
    components: stage.Components = 64,
    sample: stage.Sample = 60_000,
    seed: Annotated[int, typer.Option(min=0, help="Draws the sample, starts the vocabulary, breaks a tree's ties")] = 0,
) -> None:
    """Fit a classical model on the training photos, calibrate it on those for validation and predict all."""
    found = features_file.read(described)
    parts = tables.read_split(split, found.ids, found.landmarks)["split"]
    train, validation = ((parts == name).to_numpy() for name in ("train", "validation"))
    recipe = classifiers.Recipe(found.settings.detector, encoding, kind, n, keypoints, words, components, sample, seed)
    fitted = classifiers.fit(recipe, found.values[train], found.landmarks[train])
    classifiers.calibrate(fitted, found.values[validation], found.landmarks[validation])
    saved_models.save(model, fitted, found.settings)
    probabilities = classifiers.probabilities(fitted, found.values)
    tables.write_predictions(predictions, found.ids, found.landmarks, fitted.classes_, probabilities)


if __name__ == "__main__":
    stage.run(main)
