"""200,000 photos of 1,000 landmarks without pixels: hashes, descriptors and vectors are drawn, the stages that users run do the rest."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cv2
import memory
import numpy as np
import pandas as pd
import psutil
import typer
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

import evaluate  # noqa: E402
import stage  # noqa: E402
from landmarks.classical import features_file  # noqa: E402
from landmarks.classical.local_features import FeatureSettings  # noqa: E402
from landmarks.common import arrays  # noqa: E402
from landmarks.dataset import prediction_files, tables  # noqa: E402
from landmarks.deep.config import NetworkConfig, Recipe, TrainingConfig  # noqa: E402
from landmarks.evaluation import label_issues  # noqa: E402

KEYPOINTS, DIMENSIONS = 32, 1280
Numbers = NDArray[np.int64]


def vectors(
    count: Annotated[int, typer.Option(help="Photos")] = 200_000,
    landmarks: Annotated[int, typer.Option(help="Landmarks")] = 1000,
    keep: Annotated[Path | None, typer.Option(help="Folder to work in, and to leave the charts in")] = None,
) -> None:
    """Seconds of CPU and peak memory of split, a linear SVM, a solved head, evaluate and plots.

    Private memory is what a process cannot do without; all of it counts pages of files, too, which the system drops as it needs.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = (keep or Path(made)).absolute()
        class_ids = np.arange(count) % landmarks
        ids = [f"p{number:07}" for number in range(count)]
        _write_tables(folder, ids, class_ids)
        _write_features(folder / "keypoints" / "orb.arrow", ids, class_ids)
        split, predictions = folder / "split.csv", folder / "data" / "predictions"
        for name, command in (
            ("split", ("src/split.py", folder / "photos.csv", folder / "faces.json", split, folder / "unknown.csv",
                       folder / "counts" / "split.json")),
            ("baseline", ("src/baseline.py", folder / "keypoints", split, folder / "svm.skops", predictions / "svm.parquet",
                          "--features", "orb", "--encoding", "flat", "--pca", "none", "--classifier", "svm")),
            ("head", ("bench/vectors.py", split, predictions / "plain.parquet")),
            ("evaluate", ("src/evaluate.py", split, folder / "faces.json", folder / "counts", predictions, folder / "results.json",
                          folder / "evaluation.json", folder / "plots" / "confusion", "--model", "svm", "--model", "plain")),
            ("plots", ("src/plots.py", folder / "evaluation.json", folder / "landmarks.csv", folder / "data", folder / "plots",
                       "--folds", 3)),
        ):  # fmt: skip
            if name == "plots":
                _write_what_is_drawn(folder)
            seconds, private, resident = _measured(*command)
            print(f"{name:9} {seconds:5.0f} s of CPU  {private:.2f} GB private, {resident:.2f} GB in all", flush=True)
        print((folder / "results.json").read_text())


def _measured(*command: object) -> tuple[float, float, float]:
    """Seconds of CPU, peak private memory and peak resident memory, GB, of a script."""
    seen = [0.0]
    with subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, env=os.environ) as process:
        with memory.meanwhile(0.1, lambda: seen.append(_private(process.pid))):
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed")
    return used.ru_utime + used.ru_stime, max(seen), used.ru_maxrss / 1e6


def _private(process: int) -> float:
    try:
        held = psutil.Process(process).memory_info()
    except psutil.Error:  # it has ended meanwhile
        return 0.0
    return float(held.rss - held.shared) / 1e9


def _write_tables(folder: Path, ids: list[str], class_ids: Numbers) -> None:
    for name in ("counts/keypoints", "keypoints", "data/predictions", "data/anonymous", "plots"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = class_ids + 1
    pd.DataFrame({"id": ids, "landmark_id": names, "status": "ok"}).to_csv(folder / "photos.csv", index=False)
    labels = pd.DataFrame({"id": sorted(set(names.tolist()))})
    labels.assign(name=labels["id"].map("Landmark {}".format)).to_csv(folder / "landmarks.csv", index=False)
    hashes = np.random.default_rng(0).bytes(32 * len(ids)).hex()
    passed = {photo: {"hash": hashes[64 * place : 64 * place + 64]} for place, photo in enumerate(ids)}
    audit = {"faces": 0, "photos_with_faces": 0, "quarantined": 0, "photos": passed}
    (folder / "faces.json").write_text(json.dumps(audit))
    for name in evaluate.COUNTED:
        (folder / "counts" / f"{name}.json").write_text('{"threshold": 0.5}')


def _write_features(path: Path, ids: list[str], class_ids: Numbers) -> None:
    """ORB descriptors, half the keypoints of a photo those of its landmark, a sixth of their bits turned."""
    settings = FeatureSettings(detector="orb", count=KEYPOINTS, long_side=400, protocol="joint")
    centres = np.random.default_rng(1).integers(0, 256, (class_ids.max() + 1, KEYPOINTS, 32), np.uint8)

    def rows() -> Iterator[features_file.Row]:
        points = np.zeros((KEYPOINTS, 4), np.float32)
        for place, (photo, landmark) in enumerate(zip(ids, class_ids.tolist(), strict=True)):
            rng = np.random.default_rng([2, place])
            values = rng.integers(0, 256, (KEYPOINTS, 32), np.uint8)
            seen = rng.random(KEYPOINTS) < 0.5
            values[seen] = centres[landmark, seen] ^ np.packbits(rng.random((int(seen.sum()), 256)) < 1 / 6, axis=1)
            yield features_file.Row(photo, str(landmark + 1), KEYPOINTS, points, values)

    features_file.write(path, settings, rows())


def head(
    split: Annotated[Path, typer.Argument(help="CSV of the split stage")],
    predictions: Annotated[Path, typer.Argument(help="Parquet file to write")],
) -> None:
    """What the cnn stage does once the photos have passed the backbone: here, vectors like its own are drawn."""
    from landmarks.deep import training
    from landmarks.deep.runtime import tf

    rows = tables.read_split(split)
    photos = training.LabelledPhotos.of(Path(), rows)
    train, validation = ((rows["split"] == name).to_numpy() for name in ("train", "validation"))
    recipe = Recipe(stage.block("cnn", TrainingConfig), NetworkConfig(augment=False), seed=0)
    model = tf.keras.Sequential([tf.keras.layers.Dense(len(photos.labels))])
    model.build((None, DIMENSIONS))
    trained = training._solve(recipe, photos, model, _drawn(photos.class_ids), train, validation)
    ids, class_ids = list(rows.index[trained.judged]), photos.class_ids[trained.judged]
    suspected = label_issues.table(ids, photos.labels, class_ids, trained.held_out)
    tables.write(predictions.with_suffix(".suspects.csv"), suspected)
    right = prediction_files.write(predictions, rows.index, rows["landmark_id"], photos.labels, trained.probabilities)
    print(trained.history.to_string(), prediction_files.accuracies(right, rows["split"]), sep="\n")


def _drawn(class_ids: Numbers) -> NDArray[np.float32]:
    """Vectors of photos, float32 (n, 1, dimensions): no number is negative, and a few directions vary more than the others."""
    rng, scale = np.random.default_rng(3), 1 / np.sqrt(1 + np.arange(DIMENSIONS) / 32)
    centres = rng.normal(size=(class_ids.max() + 1, DIMENSIONS)).astype(np.float32)
    made = arrays.zeros((len(class_ids), 1, DIMENSIONS), np.float32)
    for rows in arrays.blocks(len(class_ids)):
        own = centres[class_ids[rows]]
        made[rows, 0] = np.abs((own + 2.5 * rng.standard_normal(own.shape, np.float32)) * scale + 0.3)
    return made


def _write_what_is_drawn(folder: Path) -> None:
    """The tables of stages that were not run, each of a line or two, and a grey photo for every error."""
    plots: dict[str, dict[str, list[object]]] = {
        "rejection": {"coverage": [0.5, 1.0], "risk": [0.1, 0.2]},
        "grid": {"features": ["orb"], "encoding": ["flat"], "kind": ["svm"], "validation": [0.5]},
        "learning_curve": {"model": ["svm", "svm"], "photos": [5, 10], "draw": [0, 0], "accuracy": [0.3, 0.5]},
        "robustness": {"model": ["svm"] * 2, "kind": ["none", "blur"], "strength": [0, 4], "photos": [9] * 2, "accuracy": [0.5, 0.4]},
    }  # fmt: skip
    for name, columns in plots.items():
        pd.DataFrame(columns).to_csv(folder / "plots" / f"{name}.csv", index=False)
    confidences = pd.DataFrame({"answer": ["right", "wrong", "unknown"], "confidence": [0.9, 0.6, 0.4]})
    confidences.to_csv(folder / "data" / "confidences.csv", index=False)
    grey = folder / "grey.jpg"
    _picture(grey)
    for table in (*(folder / "plots" / "confusion").glob("*.csv"), *(folder / "data" / "predictions").glob("*.csv")):
        rows = pd.read_csv(table, dtype={"id": str})
        for photo in rows["id"][rows["actual"] != rows["predicted"]]:
            link = folder / "data" / "anonymous" / f"{photo}.jpg"
            link.unlink(missing_ok=True)
            link.symlink_to(grey)


def _picture(path: Path) -> None:
    cv2.imwrite(str(path), np.full((96, 128, 3), 128, np.uint8))


if __name__ == "__main__":
    typer.run(head)
