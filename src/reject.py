"""Places that the network never saw: below which confidence it should say so."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

import stage
from landmarks.common.files import write_json
from landmarks.dataset import tables
from landmarks.evaluation import open_set
from landmarks.reporting import plots


def main(
    anonymous: Annotated[Path, typer.Argument(help="Folder of the anonymize stage")],
    split: Annotated[Path, typer.Argument(help="CSV of the split stage")],
    unknown: Annotated[Path, typer.Argument(help="CSV of the split stage: photos of other landmarks")],
    model: Annotated[Path, typer.Argument(help="JSON of the cnn stage, its weights beside it")],
    predictions: Annotated[Path, typer.Argument(help="Its predictions")],
    threshold: Annotated[Path, typer.Argument(help="JSON to write: the least confidence of an answer")],
    counts: Annotated[Path, typer.Argument(help="JSON to write: shares rejected and right, with their intervals")],
    curve: Annotated[Path, typer.Argument(help="CSV to write: risk by coverage of the test photos")],
    figure: Annotated[
        Path, typer.Argument(help="PNG to write: confidence in known and unknown places, risk by coverage")
    ],
    accepted: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of the validation photos that the threshold accepts")
    ] = 0.95,
) -> None:
    """Choose a threshold on the validation photos; see what it does to the test photos and to places nobody taught."""
    from landmarks.deep import classifier, image_cache  # here: --help need not wait for TensorFlow

    parts = tables.read_split(split)["split"]
    said = tables.read_predictions(predictions, tables.read_split(split)["landmark_id"])
    right = (said["actual"] == said["predicted"]).to_numpy()
    confidence = said["confidence"].to_numpy(float)
    least = open_set.threshold(confidence[(parts == "validation").to_numpy()], accepted)
    network = classifier.load(model)
    strangers = list(tables.read(unknown, ["id"])["id"])
    shown = image_cache.cached(anonymous, strangers, network.recipe.size, network.recipe.crop)
    other = network.probabilities(shown).max(axis=1).round(6)
    test = (parts == "test").to_numpy()
    found = open_set.scores(confidence[test], right[test], other, least)
    risks = open_set.risk_coverage(confidence[test], right[test])
    write_json(threshold, {"confidence": least})
    write_json(counts, found)
    tables.write(curve, pd.DataFrame(risks.round(6), columns=["coverage", "risk"]).drop_duplicates())
    plots.rejection(figure, confidence[test], right[test], other, least, risks)


if __name__ == "__main__":
    stage.run(main)
