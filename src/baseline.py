"""Keypoint models: the thesis' own, and what better encodings reach."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import stage
from landmarks.classical import classifiers, features_file, saved_models
from landmarks.classical.config import EncodingConfig, ModelConfig, PipelineConfig
from landmarks.common.errors import InputError
from landmarks.common.knobs import Knob
from landmarks.dataset import prediction_files, tables


@dataclass(frozen=True)
class BaselineConfig:
    """The block ``baseline`` of params.yaml."""

    # as the thesis, which has 70 % for training and none for validation
    refit: Annotated[
        bool, Knob("Fit on the validation photos too, which a model that lacks them predicts and calibrates")
    ]


def main(
    folder: Annotated[Path, "Folder of the keypoints stage, <features>.arrow"],
    split: Annotated[Path, "CSV of the split stage"],
    file: Annotated[Path, "File to write: a scikit-learn Pipeline, read by classical.saved_models"],
    predictions: Annotated[Path, "Parquet file to write: answer and probabilities of every photo"],
    encoding: EncodingConfig,
    model: ModelConfig,
    baseline: BaselineConfig,
    seed: stage.Seed,
) -> str:
    """Fit a keypoint model on the training photos, calibrate it on those for validation and predict all."""
    features = features_file.read(folder / f"{model.features}.arrow")
    parts = tables.read_split(split, features.ids, features.landmarks)["split"]
    train, validation = ((parts == name).to_numpy() for name in ("train", "validation"))
    config = PipelineConfig(
        detector=features.settings.detector, encoding=model.encoding, classifier=model.classifier,
        n=_components(model.pca), words=model.words, seed=seed, **vars(encoding),
    )  # fmt: skip
    fitted = classifiers.fit(config, features.values[train], features.landmarks[train])
    classifiers.calibrate(fitted, features.values[validation], features.landmarks[validation])
    probabilities = classifiers.probabilities(fitted, features.values)
    if baseline.refit:
        learnt, unseen = train | validation, probabilities[validation]
        temperature = getattr(fitted[-1], "temperature_", None)
        fitted = classifiers.fit(config, features.values[learnt], features.landmarks[learnt])
        if temperature is not None:
            fitted[-1].temperature_ = temperature
        probabilities = classifiers.probabilities(fitted, features.values)
        probabilities[validation] = unseen
    saved_models.save(file, fitted, features.settings)
    right = prediction_files.write(predictions, features.ids, features.landmarks, fitted.classes_, probabilities)
    return prediction_files.accuracies(right, parts)


def _components(name: str) -> int:
    """A number of principal components, or the one that params.yaml keeps under ``pca`` by that name."""
    if name.isdecimal():
        return int(name)
    known = stage.params()["pca"]
    if name not in known:
        raise InputError(f"--pca {name}: params.yaml has pca.{', pca.'.join(known)}")
    if type(known[name]) is not int or known[name] < 0:
        raise InputError(f"params.yaml: pca.{name} is {known[name]!r}; give a whole number, 0 for no PCA")
    return int(known[name])


if __name__ == "__main__":
    stage.run(main)
