"""Which models withstand what happens to photos?"""

from collections.abc import Callable, Iterator, Mapping
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
from landmarks.common.result_cache import ArrayCache
from landmarks.dataset import prediction_files, schema, tables
from landmarks.evaluation import ensembles
from landmarks.images import decoding, disturbances
from landmarks.images.photo_store import Photo, PhotoStore, sha256
from landmarks.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from landmarks.deep.classifier import Classifier

UNDISTURBED = "none"
Task = tuple[Photo, str, float]  # a photo, what happens to it, how strongly
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
class Models:
    """Those that are asked, by name: features and pipeline; network."""

    labels: list[str]
    pipelines: dict[str, tuple[str, Pipeline]]
    networks: dict[str, "Classifier"]

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
    params, labels = stage.params(), sorted(set(rows["landmark_id"]), key=schema.natural)
    shown = rows.loc[_by_turns(rows[rows["split"] == "test"])[: robustness.photos]]
    store = PhotoStore(anonymous)
    photos = [store[photo] for photo in shown.index]
    made_of = {
        name: [folder / f"{name}.skops", keypoints / f"{model['features']}.arrow"]
        for name, model in params["models"].items()
    }
    made_of |= {name: [folder / f"{name}.json", folder / f"{name}.weights.h5"] for name in params["networks"]}
    hashes = {name: [sha256(file) for file in files] for name, files in made_of.items()}
    kinds = list(_strengths(robustness))
    with ArrayCache(table, [kinds, labels, sha256(stage.VERSIONS), [sha256(photo) for photo in photos]]) as cache:
        kept = {name: cache.find(hashes[name]) for name in made_of}
        found: dict[str, Probabilities] = {name: values for name, values in kept.items() if values is not None}
        if missing := [name for name in made_of if name not in found]:
            models, look = _load(params, missing, labels, folder, keypoints)
            tasks = [(photo, *disturbed) for disturbed in kinds for photo in photos]
            seen = parallel.batched(parallel.sound(parallel.each(look, tasks, "robustness")), len(shown))
            of_each = [models.answers(block) for block in seen]
            for name in missing:
                found[name] = np.stack([answers[name] for answers in of_each])
                cache.keep(hashes[name], found[name])
        cache.forget_others()
    found = {name: found[name] for name in made_of}
    for name, pair in params["ensembles"].items():
        judged = [predictions / f"{pair[member]}.parquet" for member in ("network", "model")]
        found[name] = _pooled(found[pair["network"]], found[pair["model"]], judged, rows, labels)
    actual = shown["landmark_id"].map(labels.index).to_numpy()
    told = [
        (name, kind, strength, len(shown), (values[place].argmax(axis=1) == actual).mean().round(4))
        for place, (kind, strength) in enumerate(kinds)
        for name, values in found.items()
    ]
    made = pd.DataFrame(told, columns=["model", "kind", "strength", "photos", "accuracy"])
    tables.write(table, made)
    means = made[made["kind"] != UNDISTURBED].groupby("model", sort=False)["accuracy"].mean()
    done = f"{len(means)} models, {len(kinds) - 1} disturbances of {len(shown)} photos"
    return f"{done}; {means.idxmax()} withstands most, {means.max():.3f}"


def _load(
    params: dict[str, Any], names: list[str], labels: list[str], folder: Path, keypoints: Path
) -> tuple[Models, Callable[[Task], Seen]]:
    """The models of these names, and what shows them a disturbed photo."""
    features = {name: params["models"][name]["features"] for name in names if name in params["models"]}
    settings = {
        name: features_file.read(keypoints / f"{name}.arrow").settings for name in sorted(set(features.values()))
    }
    pipelines = {
        name: (own, saved_models.load(folder / f"{name}.skops", settings[own])) for name, own in features.items()
    }
    networks = {}
    if asked := [name for name in names if name in params["networks"]]:
        from landmarks.deep import classifier  # here: not everyone who asks needs TensorFlow

        networks = {name: classifier.load(folder / f"{name}.json") for name in asked}
    views = list({network.preprocessing for network in networks.values()})
    return Models(labels, pipelines, networks), partial(_seen, settings=settings, views=views)


def _pooled(
    network: Probabilities, model: Probabilities, files: list[Path], rows: pd.DataFrame, labels: list[str]
) -> Probabilities:
    """What an ensemble gives, of what its two members give: all of one shape, (kinds, n, labels).

    It is calibrated as ``fuse`` does it, by the validation photos in the predictions of the two, ``files``.
    """
    held_out = (rows["split"] == "validation").to_numpy()
    actual = rows["landmark_id"].map(labels.index).to_numpy(np.int64)[held_out]
    both = []
    for path, answers in zip(files, (network, model), strict=True):
        told, values = prediction_files.probabilities(prediction_files.read(path, rows["landmark_id"]))
        judged = values[held_out][:, [told.index(label) for label in labels]]
        both.append(np.concatenate([judged, answers.reshape(-1, len(labels))]))
    known = np.arange(len(both[0])) < len(actual)
    numbers = np.concatenate([actual, np.zeros((~known).sum(), np.int64)])  # the disturbed photos' are not looked at
    return ensembles.pool(both[0], both[1], numbers, known)[0][~known].reshape(network.shape)


def _by_turns(rows: pd.DataFrame) -> list[str]:
    """The ids, one of each landmark, then a second one of each, and so on."""
    of_each = [sorted(own.index) for _, own in rows.groupby("landmark_id")]
    return [photo for photo in chain.from_iterable(zip_longest(*of_each)) if photo]


def _strengths(robustness: RobustnessConfig) -> Iterator[tuple[str, float]]:
    """Each kind of disturbance with each of its strengths, before them none; a mirror has one strength."""
    yield UNDISTURBED, 0.0
    for kind in disturbances.KINDS:
        yield from ((kind, float(strength)) for strength in getattr(robustness, kind, (1,)))


def _seen(task: Task, settings: Mapping[str, FeatureSettings], views: list[Preprocessing]) -> Seen:
    photo, kind, strength = task
    picture = decoding.read(photo)
    if kind != UNDISTURBED:
        picture = disturbances.KINDS[kind](picture, strength)
    shrunk = {side: decoding.shrunk(picture, side) for side in {own.long_side for own in settings.values()}}
    described = {name: local_features.describe(shrunk[own.long_side], own)[1] for name, own in settings.items()}
    return Seen(described, {preprocessing: preprocessing.fit(picture) for preprocessing in views})


if __name__ == "__main__":
    stage.run(main)
