"""Compare the models on the same held-out photos."""

from pathlib import Path
from typing import Annotated

import typer

import stage
from landmarks.common.files import read_json, whole_folder, write_json
from landmarks.dataset import tables
from landmarks.evaluation import metrics

COUNTED = ("catalogue", "clean", "download", "split", "sweep", "grid", "retrieve", "reject", "export")


def main(
    split: Annotated[Path, "CSV of the split stage"],
    audit: Annotated[Path, "JSON of the anonymize stage"],
    counts: Annotated[Path, "Folder with the counts of the other stages, <stage>.json"],
    predictions: Annotated[Path, "Folder with the predictions of the models, <model>.csv"],
    results: Annotated[Path, "JSON to write: all figures of all models and stages"],
    confusion: Annotated[Path, "Folder to write, a CSV a model: id, actual, predicted, confidence of the test photos"],
    model: Annotated[list[str], typer.Option(help="Of these; repeat for more [all that params.yaml declares]")] = [],  # noqa: B006 - typer makes a list anew
) -> str:
    """Score every model on train, validation and test, with 95 % intervals and McNemar's test; gather the counts of the stages."""
    parts = tables.read(split, ["id", "landmark_id", "split"]).set_index("id")
    tables.require_parts(split, parts["split"])
    files = stage.declared(predictions, ".csv", stage.models(), model)
    tested = {name: tables.read_predictions(path, parts["landmark_id"]) for name, path in files.items()}
    models = metrics.compare(tested, parts["split"])
    data = {name: read_json(counts / f"{name}.json", name) for name in COUNTED}
    described = sorted((counts / "keypoints").glob("*.json"))
    data["keypoints"] = {path.stem: read_json(path, "keypoints") for path in described}
    audited = read_json(audit, "anonymize")
    data["anonymize"] = {name: audited[name] for name in ("faces", "photos_with_faces", "quarantined")}
    test = parts.index[parts["split"] == "test"]
    with whole_folder(confusion) as folder:
        for name, table in tested.items():
            tables.write(folder / f"{name}.csv", table.loc[test].rename_axis("id").reset_index())
    write_json(results, {"models": models, "data": data})
    return f"{len(models)} models scored on {len(test)} test photos"


if __name__ == "__main__":
    stage.run(main)
