"""What a report of the experiment tells, gathered from what the other stages left: plain values, no words, no HTML."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.parquet import read_table

from landmarks.classical import encodings, features_file
from landmarks.common.errors import InputError
from landmarks.common.files import read_json
from landmarks.dataset import catalogues, schema, tables
from landmarks.images import decoding
from landmarks.reporting import html_page, svg_charts

ENDS = 5  # first and last rows of a table too long to show
SIDE = 320  # pixels of the longer side of an example photo
DETECTORS = ("kaze", "orb", "akaze", "sift", "upright")
SWEPT = ("train", "validation", "all_train", "test")
JUDGED = (("confusion", ""), ("confusion", "-shares"), ("classes", ""))
NETWORKS = ("plain", "augmented")
CONFUSED = ("bayes", "plain")  # of which the thesis shows the matrix
SCORES = ("top1", "top1_low", "top1_high", "macro_f1")
PLOTS = ("faces", "detections", "explain", "mistakes", "reliability", "rejection", "retrieval")


class Inputs:
    """The files that a report is made from."""

    def __init__(self) -> None:
        self.paths: dict[Path, None] = {}

    def __call__(self, path: Path) -> Path:
        """Remember ``path`` and hand it back. Raises ``InputError`` if there is none."""
        if not path.is_file():
            raise InputError(f"{path}: no such file; run the stage that makes it: dvc repro")
        self.paths[path] = None
        return path

    def listed(self) -> list[tuple[str, int, str]]:
        """Name, bytes and MD5 of each, as dvc.lock records them, sorted by name."""
        found = []
        for path in sorted(self.paths):
            content = path.read_bytes()
            found.append((path.as_posix(), len(content), hashlib.md5(content, usedforsecurity=False).hexdigest()))
        return found


def _dotted(facts: Any, name: str) -> Any:
    """``facts["a"]["b"]`` for ``a.b``; None where there is none."""
    for part in name.split("."):
        if not isinstance(facts, dict) or part not in facts:
            return None
        facts = facts[part]
    return facts


def _counted(column: pa.ChunkedArray) -> list[tuple[str, int]]:
    """Values and how often each occurs, the commonest first, the lower first among equals."""
    counts = ((row["values"] or "", row["counts"]) for row in pc.value_counts(column).to_pylist())
    return sorted(counts, key=lambda row: (-row[1], schema.natural(row[0])))


def catalogue(path: Path) -> dict[str, Any]:
    """First and last rows of the catalogue, its shape, and its commonest and rarest landmarks (the thesis' figures 1 to 3)."""
    table = catalogues.read(path)
    ends = sorted({*range(min(ENDS, len(table))), *range(max(len(table) - ENDS, 0), len(table))})
    counts = _counted(table["landmark_id"])
    return {
        "rows": list(zip(ends, (list(row.values()) for row in table.take(ends).to_pylist()), strict=True)),
        "columns": list(catalogues.COLUMNS),
        "shape": {
            "rows": len(table),
            "columns": table.num_columns,
            "bytes": path.stat().st_size,
            "distinct": len(counts),
        },
        "commonest": counts[:ENDS],
        "rarest": counts[ENDS:][-ENDS:],
    }


def commonest(path: Path, count: int) -> list[tuple[str, int]]:
    """The landmarks with most rows after cleaning, and how many (the thesis' figure 6)."""
    try:
        return _counted(read_table(path, columns=["landmark_id"])["landmark_id"].cast(pa.string()))[:count]
    except (pa.ArrowException, KeyError, FileNotFoundError) as error:
        raise InputError(f"{path}: not a file of the clean stage ({error}); run: dvc repro --force clean") from None


def parts(split: pd.DataFrame) -> list[tuple[str, list[int]]]:
    """Photos of each landmark in train, validation and test."""
    landmarks = sorted(set(split["landmark_id"]), key=schema.natural)
    counts = split.groupby(["landmark_id", "split"]).size()
    return [(name, [int(counts.get((name, part), 0)) for part in schema.PARTS]) for name in landmarks]


def examples(split: pd.DataFrame, audited: dict[str, Any], anonymous: Path) -> list[dict[str, Any]]:
    """An examined photo of each landmark, by turns without and with faces where there are both (figures 4 and 5)."""
    shown = []
    groups = sorted(split.groupby("landmark_id"), key=lambda group: schema.natural(str(group[0])))
    for place, (landmark, rows) in enumerate(groups):
        wanted = bool(place % 2)
        chosen = min(rows.index, key=lambda id_: (bool(audited.get(id_, {}).get("faces")) != wanted, id_))
        path = anonymous / f"{chosen}.jpg"
        height, width = decoding.read(path).shape[:2]
        small = html_page.photo(decoding.read(path, SIDE))
        shown.append({"id": chosen, "landmark": landmark, "width": width, "height": height, "picture": small})
    return shown


def descriptors(path: Path, keypoints: int) -> dict[str, Any]:
    """First and last rows and columns of the table of descriptors laid end to end (the thesis' figures 8 and 9)."""
    found = features_file.read(path)
    ends = sorted({*range(min(ENDS, len(found.ids))), *range(max(len(found.ids) - ENDS, 0), len(found.ids))})
    rows = encodings.Flat(found.settings.detector, keypoints).transform(found.values[ends])
    kept = [*range(6), *range(rows.shape[1] - 3, rows.shape[1])]
    return {
        "shape": (len(found.ids), rows.shape[1] + 1),
        "columns": kept,
        "rows": [
            (row, values[kept].tolist(), str(found.landmarks[row])) for row, values in zip(ends, rows, strict=True)
        ],
    }


def numbers(path: Path, columns: Sequence[str], texts: Sequence[str] = ()) -> pd.DataFrame:
    """A CSV file of numbers, and of ``texts``. Raises ``InputError`` if it has no rows or a cell holds no number."""
    table = tables.read(path, [*texts, *columns])
    if table.empty:
        raise InputError(f"{path}: a header and no rows; run the stage that makes it: dvc repro --force")
    for column in columns:
        values = pd.to_numeric(table[column], errors="coerce")
        if (wrong := values.isna().to_numpy()).any():
            row = int(wrong.argmax())
            raise InputError(
                f"{path}: row {row + 2}: {column} {table[column].iloc[row]!r} is no number; run: dvc repro --force"
            )
        table[column] = values
    return table


def grid(path: Path) -> dict[str, Any]:
    """Cross-validated accuracy, a row for each detector and encoding, a column for each classifier."""
    table = numbers(path, ["validation"], ["features", "encoding", "kind"])
    kinds = list(dict.fromkeys(table["kind"]))
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for row in table.to_dict("records"):
        rows.setdefault((row["features"], row["encoding"]), {})[row["kind"]] = row["validation"]
    cells = [(*name, [_cell(scores.get(kind)) for kind in kinds]) for name, scores in rows.items()]
    return {"kinds": kinds, "rows": cells, "best": float(table["validation"].max())}


def _cell(share: float | None) -> tuple[float | None, str, str]:
    return (share, *svg_charts.shade(share or 0.0))


def confusion(path: Path) -> dict[str, Any]:
    """The confusion matrix of a model, in counts and in shares of each row (the thesis' figures 25, 26, 32, 33)."""
    table = tables.read(path, ["actual", "predicted"])
    labels = sorted({*table["actual"], *table["predicted"]}, key=schema.natural)
    counts = (
        pd.crosstab(table["actual"], table["predicted"]).reindex(index=labels, columns=labels, fill_value=0).to_numpy()
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        (label, [(int(count), *_cell(float(share))) for count, share in zip(*row, strict=True)])
        for label, *row in zip(labels, counts, shares, strict=True)
    ]
    return {"labels": labels, "rows": rows}


def network(folder: Path, history: Path, name: str, inputs: Inputs, scored: dict[str, Any]) -> dict[str, Any]:
    """Recipe, layers and training of a network (the thesis' figures 13, 14, 28 and 29), and its recall by class."""
    described = inputs(folder / f"{name}.json")
    recipe = read_json(described, "cnn")
    _require(described, recipe, ["recipe.module"], "dvc repro --force cnn")
    layers = _layers(inputs(folder / f"{name}.weights.h5"))
    columns = ["epoch", "loss", "accuracy", "validation_loss", "validation_accuracy"]
    epochs = numbers(inputs(history), columns, ["phase"])
    recalls = [row["recall"] for row in scored.get("per_class", {}).values()]
    rows = [{**row, "epoch": int(row["epoch"])} for row in epochs.to_dict("records")]
    return {
        "recipe": _flat(recipe["recipe"], ""),
        "layers": layers,
        "total": sum(count for _, _, count in layers),
        "history": rows,
        "first": rows[0],
        "last": rows[-1],
        "recall": {"lowest": min(recalls, default=None), "highest": max(recalls, default=None)},
    }


def _layers(path: Path) -> list[tuple[str, str, int]]:
    """Name, shape of the weights (of a layer that has no other), and numbers of each layer in a weights file."""
    shapes: dict[str, list[tuple[int, ...]]] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            shapes.setdefault(name.split("/")[0], []).append(item.shape)

    try:
        with h5py.File(path) as file:
            file["layers"].visititems(note)
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: not a weights file ({error}); run: dvc repro --force cnn") from None
    dense = {name: " × ".join(map(str, found[0])) for name, found in shapes.items() if len(found) == 2}  # and a bias
    return [(name, dense.get(name, ""), sum(map(math.prod, found))) for name, found in shapes.items()]


def _flat(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Nested settings as one mapping with dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return found


def best(models: dict[str, Any], among: Iterable[str]) -> str | None:
    """The model with the highest validation accuracy, the first among equals; no test photo has a say."""
    known = [name for name in models if name in set(among)]
    return max(known, key=lambda name: models[name]["validation"]["top1"], default=None)


def comparison(
    thesis: dict[str, Any], facts: dict[str, Any], differing: Iterable[tuple[str, Any, Any]]
) -> list[dict[str, Any]]:
    """Each value of the thesis, ours by the nearest recipe (and whether its parameters differ), and the best of ours."""
    blocks = {name.split(".")[0] for name, _, _ in differing}
    rows = []
    for value in thesis["values"]:
        family = facts["models"] if value.get("best") == "all" else facts["keypoint_models"]
        top = best(facts["models"], family) if "best" in value else None
        rows.append({
            **value,
            "ours": _dotted(facts, value["ours"]),
            "other": bool(blocks.intersection(value["blocks"])),
            "top": top,
            "top_score": facts["models"][top]["test"][value["score"]] if top else None,
        })  # fmt: skip
    return rows


def index(thesis: dict[str, Any], evaluated: Iterable[str]) -> list[tuple[int, str | None]]:
    """Each figure of the thesis and the id of what answers it; None where a matrix is of a model that is not ``evaluated``."""
    found = {number: id_ for id_, numbers in thesis["answers"].items() for number in numbers}
    judged = {f"{kind}-{name}{end}" for kind, end in JUDGED for name in evaluated}
    return [
        (number, id_ if not id_.startswith(("confusion-", "classes-")) or id_ in judged else None)
        for number, id_ in sorted(found.items())
    ]


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Name, the thesis' value and ours of every parameter that differs, but those that word and order the results."""
    names = [name for name in ours if not name.startswith(("report.", "evaluate."))]
    return [(name, theirs.get(name), ours[name]) for name in names if theirs.get(name) != ours[name]]


def pins(path: Path) -> list[tuple[str, str]]:
    """Packages and versions of a lock file."""
    try:
        return re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\n]+)", path.read_text(), re.MULTILINE)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: git checkout {path}") from None


def gather(
    data: Path, plots: Path, models: Path, results: Path, params: Path, profile: Path, lock: Path, thesis: Path
) -> dict[str, Any]:
    """All that the page shows, by section: plain values and pictures.

    Args:
        data: folder of the tables, the keypoints and the examined photos.
        plots: folder of the plots and curves.
        models: folder of the trained models.
        results: JSON of the evaluate stage.
        params: the parameters.
        profile: the thesis' parameters.
        lock: the pinned packages.
        thesis: the thesis' values and figures.
    """
    inputs = Inputs()
    scored = _complete(results, read_json(inputs(results), "evaluate"))
    facts: dict[str, Any] = {
        **scored,
        **_settings(params, inputs(profile)),
        "failed": sum(scored["data"]["download"]["failed"].values()),
        "packages": pins(inputs(lock)),
        "thesis": html_page.read_yaml(thesis),
    }
    facts |= _of_data(data, facts["parameters"], inputs)
    facts |= _of_models(models, plots, scored["models"], inputs)
    facts |= _of_plots(plots, scored["models"], inputs)
    facts["index"] = index(facts["thesis"], facts["confusion"])
    facts["comparison"] = comparison(facts["thesis"], facts, facts["differing"])
    facts["inputs"] = inputs.listed()
    return facts


def _complete(path: Path, scored: Any) -> dict[str, Any]:
    """The results, once they have what is read here; what the page shows beyond that, ``pages.write`` misses by itself."""
    command = "dvc repro --force evaluate"
    _require(path, scored, ["models", "data.download.failed", "data.split.landmarks"], command)
    if not scored["models"]:
        raise InputError(f"{path}: no models in it; name some in evaluate.model")
    for model in scored["models"].values():
        _require(path, model, [f"{part}.{score}" for part in ("validation", "test") for score in SCORES], command)
    return {"models": scored["models"], "data": scored["data"]}


def _require(path: Path, found: Any, names: Iterable[str], command: str) -> None:
    for name in names:
        if _dotted(found, name) is None:
            raise InputError(f"{path}: no {name} in it; run: {command}")


def _settings(params: Path, profile: Path) -> dict[str, Any]:
    """The parameters, and how they differ from the thesis'; whom to write to is nobody else's business."""
    parameters = html_page.read_yaml(params)
    needed = ("evaluate.title", "catalogue.source", "sample.classes", "encoding.keypoints")
    _require(params, parameters, needed, "git checkout params.yaml")
    flat = sorted((name, value) for name, value in _flat(parameters, "").items() if name != "download.contact")
    return {
        "title": parameters["evaluate"]["title"],
        "made_world": str(parameters["catalogue"]["source"]).endswith((".yaml", ".yml")),
        "parameters": parameters,
        "settings": flat,
        "seeds": [(name, value) for name, value in flat if name.rpartition(".")[2] == "seed"],
        "differing": differing(dict(flat), _flat(html_page.read_yaml(profile), "")),
    }


def _of_data(data: Path, parameters: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
    split = tables.read_split(inputs(data / "split.csv"))
    audit = inputs(data / "faces.json")
    examined = read_json(audit, "anonymize")
    _require(audit, examined, ["photos"], "dvc repro --force anonymize")
    kept = sorted((data / "anonymous").glob("*.jpg"))
    keypoints = {name: inputs(data / "keypoints" / f"{name}.arrow") for name in DETECTORS}
    return {
        "catalogue": catalogue(inputs(data / "catalogue.csv")),
        "commonest": commonest(inputs(data / "clean.parquet"), parameters["sample"]["classes"]),
        "parts": parts(split),
        "examples": examples(split, examined["photos"], data / "anonymous"),
        "anonymous": {"count": len(kept), "bytes": sum(path.stat().st_size for path in kept)},
        "descriptors": descriptors(keypoints["kaze"], parameters["encoding"]["keypoints"]),
        "described": {name: path.stat().st_size for name, path in keypoints.items()},
    }


def _of_models(models: Path, plots: Path, scored: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
    keypoint_models = [name for name in scored if (models / f"{name}.skops").exists()]
    files = [inputs(models / f"{name}.skops") for name in keypoint_models]
    histories = {name: plots / "history" / f"{name}.csv" for name in NETWORKS}
    networks = {name: network(models, histories[name], name, inputs, scored.get(name, {})) for name in NETWORKS}
    files += [models / f"{name}.weights.h5" for name in NETWORKS]
    return {
        "keypoint_models": keypoint_models,
        "networks": networks,
        "sizes": [(path.name, path.stat().st_size) for path in files],
    }


def _of_plots(plots: Path, scored: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
    sweep = numbers(inputs(plots / "sweep.csv"), ["components", *SWEPT]).to_dict("records")
    confused = [name for name in CONFUSED if name in scored]
    return {
        "sweep": [{**row, "components": int(row["components"])} for row in sweep],
        "grid": grid(inputs(plots / "grid.csv")),
        "confusion": {name: confusion(inputs(plots / "confusion" / f"{name}.csv")) for name in confused},
        "pictures": {name: html_page.plot(inputs(plots / f"{name}.png")) for name in PLOTS},
        "points": {name: html_page.plot(inputs(plots / "keypoints" / f"{name}.png")) for name in ("orb", "kaze")},
    }


def draw(facts: dict[str, Any], words: html_page.Words) -> dict[str, html_page.Picture]:
    """The charts, with ``words`` in their language: sweep, scores, and loss and accuracy of each network."""
    label = {
        name: words(f"word.{name}")
        for name in (*SWEPT, "components", "accuracy", "epoch", "loss", "chance", "training")
    }
    sweep, models = facts["sweep"], facts["models"]
    drawn = {
        "sweep": svg_charts.lines(
            [row["components"] for row in sweep],
            {label[name]: [row[name] for row in sweep] for name in SWEPT},
            label["components"],
            label["accuracy"],
        ),
        "scores": svg_charts.intervals(
            {
                name: tuple(model["test"][key] for key in ("top1_low", "top1", "top1_high"))
                for name, model in models.items()
            },
            1 / facts["data"]["split"]["landmarks"],
            label["accuracy"],
            label["chance"],
        ),
    }
    for name, made in facts["networks"].items():
        epochs = [row["epoch"] for row in made["history"]]
        for measure in ("loss", "accuracy"):
            series = {
                label["training"]: [row[measure] for row in made["history"]],
                label["validation"]: [row[f"validation_{measure}"] for row in made["history"]],
            }
            drawn[f"{measure}-{name}"] = svg_charts.lines(epochs, series, label["epoch"], label[measure])
    return {name: html_page.chart(svg) for name, svg in drawn.items()}
