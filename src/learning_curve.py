"""How many training photos does each model need?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import stage
from landmarks.classical import classifiers, features_file, saved_models
from landmarks.common.knobs import Knob
from landmarks.common.result_cache import ArrayCache
from landmarks.dataset import schema, tables
from landmarks.evaluation import ensembles
from landmarks.evaluation.learning_curve import Subset, subsets
from landmarks.images.photo_store import Photo, PhotoStore, sha256

Values = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LearningCurveConfig:
    """The block ``learning_curve`` of params.yaml."""

    photos: Annotated[
        tuple[int, ...], Knob("Training photos a landmark, at most; repeat for more; all are a last point")
    ]
    draws: Annotated[int, Knob("Random subsets of each size", min=1)]


def main(
    anonymous: Annotated[Path, "Folder of the anonymize stage"],
    keypoints: Annotated[Path, "Folder of the keypoints stage, <features>.arrow"],
    split: Annotated[Path, "CSV of the split stage"],
    models: Annotated[Path, "Folder of the models of the stages baseline and cnn"],
    table: Annotated[Path, "CSV to write: model, photos a landmark (mean), draw, accuracy on the validation photos"],
    learning_curve: LearningCurveConfig,
    seed: stage.Seed,
) -> str:
    """Fit every model on ever more of the training photos and score it on those for validation; no test photo is seen.

    What learns without labels stays as it is: the vocabulary of an encoding, learnt on all training photos, and the backbone.
    Networks on augmented photos, and those whose backbone learns, would take minutes: they are left out, and so are their ensembles.
    """
    rows = tables.read_split(split)
    tables.require_parts(split, rows["split"], ("train", "validation"))
    rows = rows[rows["split"].isin(["train", "validation"])]
    train, held_out = ((rows["split"] == name).to_numpy() for name in ("train", "validation"))
    groups = rows["group"].to_numpy(np.int64)
    drawn = list(
        subsets(rows["landmark_id"].to_numpy(), groups, train, learning_curve.photos, learning_curve.draws, seed)
    )
    labels = sorted(set(rows["landmark_id"]), key=schema.natural)
    params, store = stage.params(), PhotoStore(anonymous)
    with ArrayCache(table, [asdict(learning_curve), seed, sha256(stage.VERSIONS), sha256(split)]) as cache:

        def curve(files: Sequence[Photo], fit: Callable[[], Iterator[Values]]) -> Values:
            """Probabilities of the validation photos by subset, (subsets, n, labels), of a model that is made of ``files``."""
            made_of = [sha256(file) for file in files]
            if (values := cache.find(made_of)) is None:
                cache.keep(made_of, values := np.stack(list(fit())))
            return values

        found: dict[str, Values] = {}
        for name, model in params["models"].items():
            files = [models / f"{name}.skops", keypoints / f"{model['features']}.arrow"]
            found[name] = curve(files, partial(_keypoint_model, files[0], files[1], split, rows, labels, drawn))
        for name, network in params["networks"].items():
            if params["cnn"]["recipe"] == "frozen" and not network["augment"]:
                file = models / f"{name}.json"
                made_of = [file, file.with_suffix(".weights.h5"), *(store[photo] for photo in rows.index)]
                found[name] = curve(made_of, partial(_network, file, anonymous, rows, drawn))
        cache.forget_others()
    actual = rows["landmark_id"].map(labels.index).to_numpy(np.int64)[held_out]
    for name, members in params["ensembles"].items():
        if set(members.values()) <= set(found):
            pairs = zip(found[members["network"]], found[members["model"]], strict=True)
            found[name] = np.stack([ensembles.pool(*pair, actual, np.ones(len(actual), bool))[0] for pair in pairs])
    told = [
        (name, subset.photos, subset.draw, (values.argmax(axis=1) == actual).mean().round(4))
        for name, of_each in found.items()
        for subset, values in zip(drawn, of_each, strict=True)
    ]
    tables.write(table, pd.DataFrame(told, columns=["model", "photos", "draw", "accuracy"]))
    return f"{len(found)} models on {drawn[0].photos:g} to {drawn[-1].photos:g} photos a landmark"


def _keypoint_model(
    file: Path, keypoints: Path, split: Path, rows: pd.DataFrame, labels: list[str], drawn: list[Subset]
) -> Iterator[Values]:
    """Probabilities of the validation photos, (n, labels), by the model fitted on each subset."""
    features = features_file.read(keypoints)
    tables.read_split(split, features.ids, features.landmarks)  # or an error: they are of other photos
    model = saved_models.load(file, features.settings)
    order = pd.Index(features.ids).get_indexer(rows.index)
    train, held_out = ((rows["split"] == part).to_numpy() for part in ("train", "validation"))
    vectors, landmarks = classifiers.encoded(model, features.values[order], train), features.landmarks[order]
    for fitted in classifiers.refits(model, vectors, landmarks, [subset.chosen for subset in drawn]):
        classifiers.calibrate(fitted, vectors[held_out], landmarks[held_out])
        values = classifiers.probabilities(fitted, vectors[held_out])
        yield values[:, np.searchsorted(fitted.classes_, labels)]


def _network(file: Path, anonymous: Path, rows: pd.DataFrame, drawn: list[Subset]) -> Iterator[Values]:
    """The same by a network whose head is solved on each subset."""
    from landmarks.deep import classifier, refitting, training  # here: --help and typos need not wait for TensorFlow

    photos = training.LabelledPhotos.of(anonymous, rows)
    held_out = (rows["split"] == "validation").to_numpy()
    yield from refitting.probabilities(classifier.load(file), photos, [subset.chosen for subset in drawn], held_out)


if __name__ == "__main__":
    stage.run(main)
