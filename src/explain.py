"""Where in a photo does the network see its landmark?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

import stage
from landmarks.common.errors import InputError
from landmarks.common.files import whole
from landmarks.common.knobs import Knob
from landmarks.dataset import schema, tables
from landmarks.images.photo_store import PhotoStore


@dataclass(frozen=True)
class ExplainConfig:
    """The block ``explain`` of params.yaml."""

    cells: Annotated[int, Knob("Patches a side that are covered, one after the other", min=2, max=32)]
    landmarks: Annotated[int, Knob("Landmarks explained, the first", min=1)]


def main(
    anonymous: Annotated[Path, "Folder of the anonymize stage"],
    split: Annotated[Path, "CSV of the split stage"],
    model: Annotated[Path, "JSON of the cnn stage, its weights beside it"],
    maps: Annotated[Path, "NPZ to write, a test photo of each landmark: id, landmark, probability, picture, drops"],
    explain: ExplainConfig,
) -> str:
    """Cover a photo patch by patch and see what that does to the probability of its landmark."""
    from landmarks.deep import classifier, occlusion  # here: --help need not wait for TensorFlow

    rows = tables.read(split, ["id", "landmark_id", "split"])
    network, store = classifier.load(model), PhotoStore(anonymous)
    explained = []
    for label in sorted(network.labels, key=schema.natural)[: explain.landmarks]:
        own = rows[(rows["landmark_id"] == label) & (rows["split"] == "test")]["id"]
        if own.empty:
            raise InputError(f"{split}: no photo of landmark {label} is for test; run: dvc repro --force split")
        chosen = own.min()
        picture = network.preprocessing.read(store[chosen])
        probability, drops = occlusion.drops(network.probabilities, picture, network.labels.index(label), explain.cells)
        explained.append((chosen, label, probability, picture[: network.preprocessing.size], drops))
    columns = zip(("id", "landmark", "probability", "picture", "drops"), zip(*explained, strict=True), strict=True)
    with whole(maps) as partial, partial.open("wb") as file:
        arrays: dict[str, Any] = {name: np.array(values) for name, values in columns}
        np.savez(file, **arrays)
    return f"{len(explained)} photos explained"


if __name__ == "__main__":
    stage.run(main)
