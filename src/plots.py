"""Draw the charts of the results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

import stage
from landmarks.dataset import places, tables
from landmarks.evaluation import calibration, label_issues, results
from landmarks.reporting import gallery, inputs, plots

NETWORK = "plain"  # whose suspects are drawn


def main(
    evaluation: Annotated[Path, typer.Argument(help="JSON of the evaluate stage")],
    landmarks: Annotated[Path, typer.Argument(help="CSV of the places stage")],
    data: Annotated[Path, typer.Argument(help="Folder of the examined photos and of confidences.csv")],
    folder: Annotated[Path, typer.Argument(help="Folder of the tables of the other stages; the PNGs are written here")],
    report: stage.TitleConfig,
    folds: Annotated[int, typer.Option(help="Of the grid's cross-validation")],
) -> str:
    """Draw accuracy, calibration, the most confident errors, suspected labels, rejection, learning curves, robustness, and the grid.

    No stage computes on these pictures: to change one costs seconds. The models are those of the evaluation.
    """
    found = results.read(evaluation)
    models = found.models
    columns = ["id", "actual", "predicted"]
    tested = {name: inputs.numbers(folder / "confusion" / f"{name}.csv", ["confidence"], columns) for name in models}
    plots.accuracies(folder / "accuracy.png", models, found.data["split"], report.title)
    right = {name: (rows["actual"] == rows["predicted"]).to_numpy() for name, rows in tested.items()}
    bins = {name: calibration.reliability(rows["confidence"].to_numpy(), right[name]) for name, rows in tested.items()}
    errors = {name: model.test.calibration_error for name, model in models.items()}
    plots.reliability(folder / "reliability.png", bins, errors)
    ranked = {name: rows.sort_values("confidence", ascending=False, kind="stable") for name, rows in tested.items()}
    names = places.names(landmarks)
    wrong = {name: _named(rows[rows["actual"] != rows["predicted"]], names) for name, rows in ranked.items()}
    gallery.mistakes(folder / "mistakes.png", data / "anonymous", wrong)
    suspected = tables.read(data / "predictions" / f"{NETWORK}.suspects.csv", label_issues.COLUMNS)
    gallery.suspects(folder / "suspects.png", data / "anonymous", _named(suspected, names))
    confidences = inputs.numbers(data / "confidences.csv", ["confidence"], ["answer"])
    risks = inputs.numbers(folder / "rejection.csv", ["coverage", "risk"])
    plots.rejection(folder / "rejection.png", confidences, found.data["reject"]["threshold"], risks)
    grid = inputs.numbers(folder / "grid.csv", ["validation"], ["features", "encoding", "kind"])
    plots.grid(folder / "grid.png", grid, found.data["split"]["train"], folds)
    curve = inputs.numbers(folder / "learning_curve.csv", ["photos", "draw", "accuracy"], ["model"])
    plots.learning_curve(folder / "learning_curve.png", curve, found.data["split"]["validation"])
    disturbed = inputs.numbers(folder / "robustness.csv", ["strength", "photos", "accuracy"], ["model", "kind"])
    plots.robustness(folder / "robustness.png", disturbed)
    return f"charts of {len(models)} models"


def _named(rows: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """The same with names in place of the ids of landmarks."""
    told = {
        column: rows[column].map(lambda landmark: names.get(landmark, landmark)) for column in ("actual", "predicted")
    }
    return rows.assign(**told)


if __name__ == "__main__":
    stage.run(main)
