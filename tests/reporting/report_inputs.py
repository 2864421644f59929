"""What the report reads, of three landmarks, one with a hostile name, in a folder like the repository's; and its page, parsed."""

import html.parser
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from support import ROOT, recipe

from landmarks.classical import features_file, local_features
from landmarks.evaluation import metrics, results
from landmarks.reporting import html_page, report

HOSTILE = "\"><script>document.title='taken'</script>"
TITLE = "three <b>houses</b> & a test"
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
CLASSICAL = ("bayes_raw", "bayes", "tree", "bayes_orb", "vlad", "fisher")
NETWORKS = ("plain", "augmented")
MODELS = (*CLASSICAL, *NETWORKS, "fused")
DETECTORS = ("akaze", "kaze", "orb", "sift", "upright")
PLOTS = (
    "faces", "detections", "explain", "learning_curve", "mistakes", "reliability", "rejection", "retrieval", "robustness",
    "suspects",
)  # fmt: skip


class Read(html.parser.HTMLParser):
    """What a page holds: its elements, the cells of the tables by the id of their figure, the text of the captions."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: dict[str, list[list[str]]] = {}
        self.captions: dict[str, str] = {}
        self.figure, self.into = "", ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        self.into = {"td": "cell", "th": "cell", "figcaption": "caption"}.get(tag, self.into)
        if tag == "figure":
            self.figure = attributes["id"]
            self.rows[self.figure], self.captions[self.figure] = [], ""
        elif tag == "tr":
            self.rows[self.figure].append([])
        elif self.into == "cell" and tag in ("td", "th"):
            self.rows[self.figure][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "figcaption"):
            self.into = ""

    def handle_data(self, data: str) -> None:
        if self.into == "cell":
            self.rows[self.figure][-1][-1] += data
        elif self.into == "caption":
            self.captions[self.figure] += data

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def links(self) -> set[str]:
        return {attributes["href"][1:] for tag, attributes in self.elements if tag == "a"}


def make(root: Path, photos: Path, split: Path) -> Path:
    """Write into ``root`` what the other stages leave."""
    folders = "data/keypoints models plots/history plots/confusion plots/keypoints metrics profiles"
    for folder in folders.split():
        (root / folder).mkdir(parents=True)
    for name in ("requirements.lock", "profiles/thesis.yaml"):
        shutil.copy(ROOT / name, root / name)
    params = {**PARAMS, "download": {**PARAMS["download"], "contact": "somebody@example.org"}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copytree(photos / "images", root / "data" / "anonymous")
    rows = pd.read_csv(split, dtype=str).replace({"landmark_id": {"3": HOSTILE}})
    _write_tables(root / "data", rows)
    rows = rows.set_index("id")
    for name in DETECTORS:
        _write_keypoints(root / "data" / "keypoints" / f"{name}.arrow", "sift" if name == "upright" else name, rows)
    _write_evaluation(root, rows)
    (root / "models" / "landmarks.csv").write_text("id,name\n1,Old Bridge\n2,Torre Añil\n")
    for name in CLASSICAL:
        (root / "models" / f"{name}.skops").write_bytes(bytes(len(name) * 1000))
    for name in NETWORKS:
        write_network(root, name)
    _write_plots(root / "plots")
    return root


def _write_tables(data: Path, rows: pd.DataFrame) -> None:
    rows.to_csv(data / "split.csv", index=False)
    catalogue = rows[["id", "landmark_id"]].assign(url="https://example.org/" + HOSTILE)[["id", "url", "landmark_id"]]
    catalogue.to_csv(data / "catalogue.csv", index=False)
    catalogue.to_parquet(data / "clean.parquet")
    faces: dict[str, Any] = {"photos": {id_: {"faces": [{}] if id_.endswith("5") else []} for id_ in rows["id"]}}
    (data / "faces.json").write_text(json.dumps(faces))


def _write_keypoints(path: Path, detector: Any, rows: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    columns, kind = local_features.COLUMNS[detector], local_features.NUMBERS[detector]

    def row(id_: str, landmark: str) -> features_file.Row:
        points = rng.random((5, 4), np.float32)
        return features_file.Row(id_, landmark, 5, points, (rng.random((5, columns)) * 9).astype(kind))

    described = (row(str(id_), landmark) for id_, landmark in rows["landmark_id"].items())
    settings = local_features.FeatureSettings(detector=detector, count=5, long_side=400, protocol="joint")
    features_file.write(path, settings, described)


def _write_evaluation(root: Path, rows: pd.DataFrame) -> None:
    rng = np.random.default_rng(1)
    predictions = {}
    for name in MODELS:
        guess = rng.permutation(rows["landmark_id"].to_numpy())
        predicted = np.where(rng.random(len(rows)) < 0.6, rows["landmark_id"], guess)
        columns = {"actual": rows["landmark_id"], "predicted": predicted, "confidence": 0.5}
        shares = {f"p:{label}": np.where(predicted == label, 0.5, 0.1) for label in sorted(set(rows["landmark_id"]))}
        predictions[name] = pd.DataFrame({**columns, **shares}, rows.index)
        tested = pd.DataFrame(columns, rows.index)[rows["split"] == "test"]
        tested.rename_axis("id").reset_index().to_csv(root / "plots" / "confusion" / f"{name}.csv", index=False)
    data = json.loads((ROOT / "metrics" / "evaluation.json").read_text())["data"]
    data["download"]["link_rot"][HOSTILE] = {HOSTILE: 1}
    data["download"]["failed"][HOSTILE] = 1
    data["split"] |= {
        "photos": 36,
        "train": 21,
        "validation": 6,
        "test": 9,
        "landmarks": 3,
        "external": 0,
        "external_left_out": 0,
    }
    data["reject"] |= {"external": None}
    found = results.Evaluation(models=metrics.compare(predictions, rows), data=data)
    found.write(root / "metrics" / "evaluation.json")


def write_network(root: Path, name: str) -> None:
    """A network of one layer, and two epochs of its training."""
    trunk = {"layer": "BackboneLayer", "width": 7, "trained": 40, "fixed": 9}
    layers = [trunk, {"layer": "Dense", "width": 3, "trained": 24, "fixed": 0}]
    described = asdict(recipe(module=("a/module",), recipe="two-phase", label_smoothing=0.1))
    (root / "models" / f"{name}.json").write_text(json.dumps({"recipe": described, "layers": layers}))
    (root / "models" / f"{name}.weights.h5").write_bytes(bytes(100))
    epochs = pd.DataFrame({"step": [1, 2], "phase": "head", "loss": [1.5, 0.5], "accuracy": [0.25, 0.75]})
    epochs = epochs.assign(validation_loss=[1.25, 1.0], validation_accuracy=[0.5, 0.625])
    epochs.to_csv(root / "plots" / "history" / f"{name}.csv", index=False)


def _write_plots(plots: Path) -> None:
    sweep = pd.DataFrame({"components": [2, 4], "train": [0.5, 0.6], "validation": [0.4, 0.3]})
    sweep.assign(all_train=0.5, test=0.25).to_csv(plots / "sweep.csv", index=False)
    grid = pd.DataFrame({"features": "kaze", "encoding": ["flat", "vlad"], "kind": "svm", "validation": [0.25, 0.75]})
    grid.to_csv(plots / "grid.csv", index=False)
    rng = np.random.default_rng(2)
    for plot in (*PLOTS, *(f"keypoints/{name}" for name in DETECTORS)):
        Image.fromarray(rng.integers(0, 255, (60, 900, 3), np.uint8)).save(plots / f"{plot}.png")


def arguments(root: Path) -> list[Path]:
    """Those of the stage, but for the page."""
    names = ("data", "plots", "models", "metrics/evaluation.json", "params.yaml", "profiles/thesis.yaml")
    return [root / name for name in (*names, "requirements.lock")]


def write(root: Path, page: Path) -> str:
    """The page, written in this process."""
    data, plots, models, evaluation, params, profile, lock = arguments(root)
    html_page.write(page, report.gather(data, plots, models, evaluation, params, profile, lock, TITLE))
    return page.read_text()
