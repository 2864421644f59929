"""Compare the models on the same held-out photos."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

import stage
from landmarks.common.errors import InputError
from landmarks.common.files import read_json, whole_folder, write_json
from landmarks.dataset import tables
from landmarks.evaluation import calibration, metrics
from landmarks.reporting import plots

COUNTED = ("catalogue", "clean", "download", "split", "sweep", "grid", "retrieve", "reject", "export")


def main(
    split: Annotated[Path, typer.Argument(help="CSV of the split stage")],
    audit: Annotated[Path, typer.Argument(help="JSON of the anonymize stage")],
    counts: Annotated[Path, typer.Argument(help="Folder with the counts of the other stages, <stage>.json")],
    predictions: Annotated[Path, typer.Argument(help="Folder with the predictions of the models, <model>.csv")],
    results: Annotated[Path, typer.Argument(help="JSON to write: all figures of all models and stages")],
    confusion: Annotated[
        Path, typer.Argument(help="Folder to write: actual and predicted of the test photos, a CSV a model")
    ],
    anonymous: Annotated[Path, typer.Argument(help="Folder of the anonymize stage")],
    figure: Annotated[Path, typer.Argument(help="PNG to write: accuracies with their intervals")],
    diagrams: Annotated[Path, typer.Argument(help="PNG to write: accuracy against confidence")],
    mistakes: Annotated[
        Path, typer.Argument(help="PNG to write: the test photos that each model got most surely wrong")
    ],
    title: Annotated[str, typer.Option(help="What the photos are of, for the figure")] = "",
    model: Annotated[list[str] | None, typer.Option(help="Models to compare, in that order; repeat for more")] = None,
) -> None:
    """Score every model on train, validation and test, with 95 % intervals and McNemar's test; gather the counts of the stages."""
    parts = tables.read(split, ["id", "landmark_id", "split"]).set_index("id")
    tested = {
        name: tables.read_predictions(predictions / f"{name}.csv", parts["landmark_id"])
        for name in model or sorted(p.stem for p in predictions.glob("*.csv"))
    }
    if not tested:
        raise InputError(f"{predictions}: no predictions; run: dvc repro baseline cnn")
    models = metrics.compare(tested, parts["split"])
    data = {name: read_json(counts / f"{name}.json", name) for name in COUNTED}
    data["keypoints"] = {
        path.stem: read_json(path, "keypoints") for path in sorted((counts / "keypoints").glob("*.json"))
    }
    audited = read_json(audit, "anonymize")
    data["anonymize"] = {name: audited[name] for name in ("faces", "photos_with_faces", "quarantined")}
    test = parts.index[parts["split"] == "test"]
    with whole_folder(confusion) as folder:
        for name, table in tested.items():
            tables.write(folder / f"{name}.csv", table.loc[test, ["actual", "predicted"]])
    plots.accuracies(figure, models, title)
    tests = {name: table.loc[test] for name, table in tested.items()}
    errors = {name: scores["test"]["calibration_error"] for name, scores in models.items()}
    plots.reliability(diagrams, {name: _bins(rows) for name, rows in tests.items()}, errors)
    plots.mistakes(mistakes, anonymous, {name: _surest_mistakes(rows) for name, rows in tests.items()})
    write_json(results, {"models": models, "data": data})


def _bins(rows: pd.DataFrame) -> NDArray[np.float64]:
    return calibration.reliability(rows["confidence"].to_numpy(), (rows["actual"] == rows["predicted"]).to_numpy())


def _surest_mistakes(rows: pd.DataFrame) -> list[tuple[str, str, str, float]]:
    """(id, actual, predicted, confidence), the surest first."""
    wrong = rows[rows["actual"] != rows["predicted"]].sort_values("confidence", ascending=False, kind="stable")
    return list(wrong.reset_index()[["id", "actual", "predicted", "confidence"]].itertuples(index=False, name=None))


if __name__ == "__main__":
    stage.run(main)
