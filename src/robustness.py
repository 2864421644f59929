"""Which models withstand what happens to photos?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

import stage
from landmarks.classical import classifiers, features_file, local_features, saved_models
from landmarks.classical.local_features import FeatureSettings
from landmarks.common import parallel
from landmarks.common.knobs import Knob
from landmarks.dataset import prediction_files, schema, tables
from landmarks.evaluation import ensembles
from landmarks.images import decoding, disturbances
from landmarks.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from landmarks.deep.classifier import Classifier

UNDISTURBED = "none"
Task = tuple[str, str, float]  # a photo, what happens to it, how strongly
Probabilities = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class RobustnessConfig:
    """The block ``robustness`` of params.yaml."""

    photos: Annotated[int, Knob("Test photos, at most, the landmarks by turns", min=1)]
    jpeg: Annotated[tuple[float, ...], Knob("Quality, 1 to 100; repeat each for more strengths")]
    blur: Annotated[tuple[float, ...], Knob("Standard deviation, thousandths of the longer side")]
    turn: Annotated[tuple[float, ...], Knob("Degrees against the clock")]
    crop: Annotated[tuple[float, ...], Knob("Share of each side that is kept")]
    darkness: Annotated[tuple[float, ...], Knob("Stops of light that are missing")]


@dataclass(frozen=True)
class Seen:
    """What the models see of a photo: its descriptors by features, and what networks take, by their preprocessing."""

    descriptors: dict[str, NDArray[Any]]
    pictures: dict[Preprocessing, NDArray[np.uint8]]


@dataclass(frozen=True)
class Judged:
    """What the members of an ensemble say of the validation photos, (n, labels) each, and the class ids of these."""

    network: Probabilities
    model: Probabilities
    actual: NDArray[np.int64]


@dataclass(frozen=True)
class Models:
    """All models, by name: features and pipeline; network; network, keypoint model and how these judge the validation photos."""

    labels: list[str]
    pipelines: dict[str, tuple[str, Pipeline]]
    networks: dict[str, "Classifier"]
    ensembles: dict[str, tuple[str, str, Judged]]

    def answers(self, seen: list[Seen]) -> dict[str, Probabilities]:
        """Of each model, the probabilities of ``labels``, (n, labels)."""
        found: dict[str, Probabilities] = {}
        for name, (features, pipeline) in self.pipelines.items():
            values = features_file.objects(photo.descriptors[features] for photo in seen)
            order = np.searchsorted(pipeline.classes_, self.labels)
            found[name] = classifiers.probabilities(pipeline, values)[:, order]
        for name, network in self.networks.items():
            pictures = np.stack([photo.pictures[network.preprocessing] for photo in seen])
            found[name] = network.probabilities(pictures)[:, [network.labels.index(label) for label in self.labels]]
        for name, (first, second, judged) in self.ensembles.items():
            deep, classical = (
                np.concatenate([judged.network, found[first]]),
                np.concatenate([judged.model, found[second]]),
            )
            numbers = np.concatenate([judged.actual, np.zeros(len(seen), np.int64)])  # the photos' are not looked at
            known = len(judged.actual)
            found[name] = ensembles.pool(deep, classical, numbers, np.arange(len(numbers)) < known)[0][known:]
        return found


def main(
    anonymous: Annotated[Path, "Folder of the anonymize stage"],
    keypoints: Annotated[Path, "Folder of the keypoints stage, <features>.arrow"],
    split: Annotated[Path, "CSV of the split stage"],
    folder: Annotated[Path, "Folder of the models of the stages baseline and cnn"],
    predictions: Annotated[
        Path, "Folder of their predictions: ensembles are calibrated on those of the validation photos"
    ],
    table: Annotated[Path, "CSV to write: model, kind, strength, photos, accuracy"],
    robustness: RobustnessConfig,
) -> str:
    """Disturb test photos, one kind and one strength at a time, and score every model, as it is, on them.

    Nothing is chosen by these scores. Models that are refitted have seen the validation photos.
    """
    rows = tables.read_split(split)
    tables.require_parts(split, rows["split"], ("validation", "test"))
    used = sorted({model["features"] for model in stage.params()["models"].values()})
    settings = {name: features_file.read(keypoints / f"{name}.arrow").settings for name in used}
    models = _load(folder, predictions, rows, settings)
    shown = rows.loc[_by_turns(rows[rows["split"] == "test"])[: robustness.photos]]
    kinds = list(_strengths(robustness))
    tasks = [(photo, *disturbed) for disturbed in kinds for photo in shown.index]
    views = list({network.preprocessing for network in models.networks.values()})
    look = partial(_seen, folder=anonymous, settings=settings, views=views)
    results = parallel.batched(parallel.sound(parallel.each(look, tasks, "robustness")), len(shown))
    actual = shown["landmark_id"].map(models.labels.index).to_numpy()
    told = [
        (name, kind, strength, len(shown), (values.argmax(axis=1) == actual).mean().round(4))
        for (kind, strength), seen in zip(kinds, results, strict=True)
        for name, values in models.answers(seen).items()
    ]
    made = pd.DataFrame(told, columns=["model", "kind", "strength", "photos", "accuracy"])
    tables.write(table, made)
    means = made[made["kind"] != UNDISTURBED].groupby("model", sort=False)["accuracy"].mean()
    done = f"{len(means)} models, {len(kinds) - 1} disturbances of {len(shown)} photos"
    return f"{done}; {means.idxmax()} withstands most, {means.max():.3f}"


def _load(folder: Path, predictions: Path, rows: pd.DataFrame, settings: Mapping[str, FeatureSettings]) -> Models:
    """All that params.yaml declares."""
    from landmarks.deep import classifier  # here: --help and typos need not wait for TensorFlow

    params, labels = stage.params(), sorted(set(rows["landmark_id"]), key=schema.natural)
    held_out = (rows["split"] == "validation").to_numpy()

    def judges(model: str) -> Probabilities:
        """What it says of the validation photos."""
        table = prediction_files.read(predictions / f"{model}.parquet", rows["landmark_id"])
        told, values = prediction_files.probabilities(table)
        return values[held_out][:, [told.index(label) for label in labels]]

    actual = rows["landmark_id"].map(labels.index).to_numpy(np.int64)[held_out]
    return Models(
        labels=labels,
        pipelines={
            name: (model["features"], saved_models.load(folder / f"{name}.skops", settings[model["features"]]))
            for name, model in params["models"].items()
        },
        networks={name: classifier.load(folder / f"{name}.json") for name in params["networks"]},
        ensembles={
            name: (pair["network"], pair["model"], Judged(judges(pair["network"]), judges(pair["model"]), actual))
            for name, pair in params["ensembles"].items()
        },
    )


def _by_turns(rows: pd.DataFrame) -> list[str]:
    """The ids, one of each landmark, then a second one of each, and so on."""
    of_each = [sorted(own.index) for _, own in rows.groupby("landmark_id")]
    return [photo for photo in chain.from_iterable(zip_longest(*of_each)) if photo]


def _strengths(robustness: RobustnessConfig) -> Iterator[tuple[str, float]]:
    """Each kind of disturbance with each of its strengths, before them none; a mirror has one strength."""
    yield UNDISTURBED, 0.0
    for kind in disturbances.KINDS:
        yield from ((kind, float(strength)) for strength in getattr(robustness, kind, (1,)))


def _seen(task: Task, folder: Path, settings: Mapping[str, FeatureSettings], views: list[Preprocessing]) -> Seen:
    photo, kind, strength = task
    picture = decoding.read(folder / f"{photo}.jpg")
    if kind != UNDISTURBED:
        picture = disturbances.KINDS[kind](picture, strength)
    shrunk = {side: decoding.shrunk(picture, side) for side in {own.long_side for own in settings.values()}}
    described = {name: local_features.describe(shrunk[own.long_side], own)[1] for name, own in settings.items()}
    return Seen(described, {preprocessing: preprocessing.fit(picture) for preprocessing in views})


if __name__ == "__main__":
    stage.run(main)
