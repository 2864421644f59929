"""Where in a photo does the network see its landmark?"""

from pathlib import Path
from typing import Annotated

import typer

import stage
from landmarks.dataset import schema, tables


def main(
    anonymous: Annotated[Path, typer.Argument(help="Folder of the anonymize stage")],
    split: Annotated[Path, typer.Argument(help="CSV of the split stage")],
    model: Annotated[Path, typer.Argument(help="JSON of the cnn stage, its weights beside it")],
    figure: Annotated[
        Path, typer.Argument(help="PNG to write: a test photo of each landmark, and where the network looks")
    ],
    cells: Annotated[int, typer.Option(min=2, max=32, help="Patches a side that are covered, one after the other")] = 8,
    landmarks: Annotated[int, typer.Option(min=1, help="Landmarks shown, the first")] = 10,
) -> None:
    """Cover a photo patch by patch and see what that does to the probability of its landmark."""
    from landmarks.deep import classifier, occlusion  # here: --help need not wait for TensorFlow
    from landmarks.images import decoding  # here: --help need not wait for TensorFlow
    from landmarks.reporting import plots  # here: --help need not wait for TensorFlow

    rows = tables.read(split, ["id", "landmark_id", "split"])
    network = classifier.load(model)
    shown = []
    for label in sorted(network.labels, key=schema.natural)[:landmarks]:
        chosen = rows[(rows["landmark_id"] == label) & (rows["split"] == "test")]["id"].min()
        picture = decoding.read_square(anonymous / f"{chosen}.jpg", network.recipe.size, network.recipe.crop)
        probability, drops = occlusion.drops(network.probabilities, picture, network.labels.index(label), cells)
        shown.append((picture, drops, f"{label[:12]}: {probability:.2f}"))
    plots.occlusions(figure, shown)


if __name__ == "__main__":
    stage.run(main)
