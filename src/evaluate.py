"""Compare the models on the same held-out photos."""

from pathlib import Path
from typing import Annotated, Any

import typer

import stage
from landmarks.common.files import read_json, whole_folder, write_json
from landmarks.dataset import prediction_files, tables
from landmarks.evaluation import metrics
from landmarks.evaluation.results import Evaluation

COUNTED = ("catalogue", "clean", "download", "split", "sweep", "grid", "retrieve", "reject", "export")


def main(
    split: Annotated[Path, "CSV of the split stage"],
    audit: Annotated[Path, "JSON of the anonymize stage"],
    counts: Annotated[Path, "Folder with the counts of the other stages, <stage>.json"],
    predictions: Annotated[Path, "Folder with the predictions of the models, <model>.parquet"],
    results: Annotated[Path, "JSON to write: the metrics, what one compares of the models"],
    evaluation: Annotated[Path, "JSON to write: all that was found of all models and stages"],
    confusion: Annotated[Path, "Folder to write, a CSV a model: id, actual, predicted, confidence of the test photos"],
    model: Annotated[list[str], typer.Option(help="Of these; repeat for more [all that params.yaml declares]")] = [],  # noqa: B006 - typer makes a list anew
) -> str:
    """Score every model on train, validation and test, with 95 % intervals and McNemar's test; gather the counts of the stages."""
    parts = tables.read_split(split)
    tables.require_parts(split, parts["split"])
    files = stage.declared(predictions, ".parquet", stage.models(), model)
    tested = prediction_files.Predictions(files, parts["landmark_id"])
    found = Evaluation(models=metrics.compare(tested, parts), data=_counted(counts, audit))
    test = parts["landmark_id"][parts["split"] == "test"]
    with whole_folder(confusion) as folder:
        for name, path in files.items():
            rows = prediction_files.answers(path, parts["landmark_id"]).loc[test.index]
            tables.write(folder / f"{name}.csv", rows.rename_axis("id").reset_index())
    found.write(evaluation)
    write_json(results, found.metrics())
    return f"{len(tested)} models scored on {len(test)} test photos"


def _counted(counts: Path, audit: Path) -> dict[str, Any]:
    """What the other stages counted, by stage."""
    data = {name: read_json(counts / f"{name}.json", name) for name in COUNTED}
    described = sorted((counts / "keypoints").glob("*.json"))
    data["keypoints"] = {path.stem: read_json(path, "keypoints") for path in described}
    audited = read_json(audit, "anonymize")
    data["anonymize"] = {name: audited[name] for name in ("faces", "photos_with_faces", "quarantined")}
    return data


if __name__ == "__main__":
    stage.run(main)
