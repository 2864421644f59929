"""Ensembles of a network and a keypoint model, which err on different photos."""

from pathlib import Path
from typing import Annotated

import stage
from landmarks.classical import classifiers, features_file, saved_models
from landmarks.common.errors import InputError
from landmarks.dataset import prediction_files, tables


def main(
    anonymous: Annotated[Path, "Folder of the anonymize stage"],
    keypoints: Annotated[Path, "File of the keypoints stage that the keypoint model was fitted on"],
    split: Annotated[Path, "CSV of the split stage"],
    network: Annotated[Path, "JSON of the cnn stage, its weights beside it"],
    model: Annotated[Path, "File of the baseline stage"],
    predictions: Annotated[Path, "Parquet file to write: answer and probabilities of every photo"],
) -> str:
    """Give each landmark the mean of the probabilities of two models, each of which is calibrated."""
    from landmarks.deep import classifier, image_cache  # here: --help need not wait for TensorFlow

    features = features_file.read(keypoints)
    parts = tables.read_split(split, features.ids, features.landmarks)
    classical = saved_models.load(model, features.settings)
    deep = classifier.load(network)
    if set(deep.labels) != set(classical.classes_):
        raise InputError(f"{network} and {model} know different landmarks; run: dvc repro cnn baseline")
    pictures = image_cache.preprocessed(anonymous, list(parts.index), deep.preprocessing)
    same = [deep.labels.index(label) for label in classical.classes_]
    of_network = deep.probabilities(pictures)[:, same]
    mean = (of_network + classifiers.probabilities(classical, features.values)) / 2
    prediction_files.write(predictions, parts.index, parts["landmark_id"], classical.classes_, mean)
    return prediction_files.accuracies(
        classical.classes_[mean.argmax(axis=1)] == parts["landmark_id"].to_numpy(), parts["split"]
    )


if __name__ == "__main__":
    stage.run(main)
