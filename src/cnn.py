"""Transfer learning on the photos."""

from pathlib import Path
from typing import Annotated

import stage
from landmarks.dataset import prediction_files, tables
from landmarks.deep.config import NetworkConfig, Recipe, TrainingConfig
from landmarks.evaluation import label_issues


def main(
    anonymous: Annotated[Path, "Folder of the anonymize stage"],
    split: Annotated[Path, "CSV of the split stage"],
    model: Annotated[Path, "JSON to write: recipe and labels; the weights go beside it, .weights.h5"],
    history: Annotated[Path, "CSV to write: loss and accuracy by epoch; of a solved head, by strength"],
    predictions: Annotated[
        Path,
        "Parquet file to write: answer and probabilities of every photo; beside it goes .suspects.csv, training photos whose label may be wrong",
    ],
    cnn: TrainingConfig,
    network: NetworkConfig,
    seed: stage.Seed,
) -> str:
    """Train a head on a pre-trained backbone, select its strength or its epoch without the test photos, and predict all photos."""
    from landmarks.deep import classifier, training  # here: --help and typos need not wait for TensorFlow

    rows = tables.read_split(split)
    photos = training.LabelledPhotos.of(anonymous, rows)
    train, validation = ((rows["split"] == name).to_numpy() for name in ("train", "validation"))
    trained = training.fit(Recipe(cnn, network, seed), photos, train, validation)
    classifier.save(model, trained.network)
    tables.write(history, trained.history)
    ids, class_ids = rows.index[trained.judged], photos.class_ids[trained.judged]
    suspected = label_issues.table(list(ids), photos.labels, class_ids, trained.held_out)
    tables.write(predictions.with_suffix(".suspects.csv"), suspected)
    right = prediction_files.write(predictions, rows.index, rows["landmark_id"], photos.labels, trained.probabilities)
    return prediction_files.accuracies(right, rows["split"])


if __name__ == "__main__":
    stage.run(main)
