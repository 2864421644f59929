"""Draw the charts of the results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

import stage
from landmarks.common.files import whole_folder
from landmarks.dataset import places, tables
from landmarks.evaluation import calibration, label_issues, results
from landmarks.reporting import gallery, inputs, plots
from landmarks.reporting.labels import shortened

NETWORK = "plain"  # whose suspects are drawn
LETTERS = 28  # of a landmark's name on an axis


def main(
    evaluation: Annotated[Path, typer.Argument(help="JSON of the evaluate stage")],
    landmarks: Annotated[Path, typer.Argument(help="CSV of the places stage")],
    data: Annotated[Path, typer.Argument(help="Folder of the examined photos and of confidences.csv")],
    folder: Annotated[
        Path, typer.Argument(help="Folder of the tables of the other stages; PNGs and answers/ are written here")
    ],
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
    _write_answers(folder / "answers", tested, names)
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


def _write_answers(folder: Path, tested: Mapping[str, pd.DataFrame], names: places.Names) -> None:
    """A CSV a model of ``actual`` and ``predicted`` names: what `dvc plots` draws confusion matrices of."""
    ids = sorted({landmark for rows in tested.values() for landmark in (*rows["actual"], *rows["predicted"])})
    labels = shortened((names[landmark] for landmark in ids), LETTERS)
    short = places.Names({landmark: labels[names[landmark]] for landmark in ids})
    with whole_folder(folder) as place:
        for name, rows in tested.items():
            tables.write(place / f"{name}.csv", _named(rows, short)[["actual", "predicted"]])


def _named(rows: pd.DataFrame, names: places.Names) -> pd.DataFrame:
    """The same with names in place of the ids of landmarks."""
    return rows.assign(**{column: rows[column].map(names) for column in ("actual", "predicted")})


if __name__ == "__main__":
    stage.run(main)
