"""What each section of the report shows, as plain values and pictures: no words, no HTML."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sklearn.metrics
from pyarrow.parquet import read_table

from landmarks.classical import encodings, features_file
from landmarks.common.errors import InputError
from landmarks.dataset import catalogues, schema, tables
from landmarks.evaluation.results import ModelScores
from landmarks.images import decoding
from landmarks.images.photo_store import PhotoStore
from landmarks.reporting import html_page, svg_charts
from landmarks.reporting.inputs import Inputs, layers_of, numbers, recipe

ENDS = 5  # first and last rows of a table too long to show
SIDE = 320  # pixels of the longer side of an example photo
MANY = 40  # landmarks that tables show whole; of more, the worst and the best
SHOWN = 20
OTHERS = "all others"  # the column of a confusion matrix for what it does not show
SMALL, MISTAKEN = 200, 60  # the same of a photo that was mistaken, and how many of these are shown


def _counted(column: pa.ChunkedArray) -> list[tuple[str, int]]:
    """Values and how often each occurs, the commonest first, the lower first among equals."""
    counts = ((row["values"] or "", row["counts"]) for row in pc.value_counts(column).to_pylist())
    return sorted(counts, key=lambda row: (-row[1], schema.natural(row[0])))


def _ends(count: int) -> list[int]:
    return sorted({*range(min(ENDS, count)), *range(max(count - ENDS, 0), count)})


def catalogue(path: Path) -> dict[str, Any]:
    """First and last rows of the catalogue, its shape, and its commonest landmarks, nulls and rarest landmarks (the thesis' figures 1 to 3)."""
    table = catalogues.read(path)
    ends = _ends(len(table))
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
        "nulls": [(name, count) for name, count in counts[ENDS:-ENDS] if name.strip() in catalogues.NULLS],
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
    shown, store = [], PhotoStore(anonymous)
    groups = sorted(split.groupby("landmark_id"), key=lambda group: schema.natural(str(group[0])))
    for place, (landmark, rows) in enumerate(groups[:MANY]):
        wanted = bool(place % 2)
        chosen = min(rows.index, key=lambda id_: (bool(audited.get(id_, {}).get("faces")) != wanted, id_))
        height, width = decoding.read(store[chosen]).shape[:2]
        small = html_page.photo(decoding.read(store[chosen], SIDE))
        shown.append({"id": chosen, "landmark": landmark, "width": width, "height": height, "picture": small})
    return shown


def descriptors(path: Path, keypoints: int) -> dict[str, Any]:
    """First and last rows and columns of the table of descriptors laid end to end (the thesis' figures 8 and 9)."""
    features = features_file.read(path)
    ends = _ends(len(features.ids))
    rows = encodings.Flat(features.settings.detector, keypoints).transform(features.values[ends])
    kept = [*range(6), *range(rows.shape[1] - 3, rows.shape[1])]
    return {
        "shape": (len(features.ids), rows.shape[1] + 1),
        "columns": kept,
        "rows": [(i, row[kept].tolist(), str(features.landmarks[i])) for i, row in zip(ends, rows, strict=True)],
    }


def grid(path: Path) -> dict[str, Any]:
    """Cross-validated accuracy, a row for each detector and encoding, a column for each classifier."""
    table = numbers(path, ["validation"], ["features", "encoding", "kind"])
    kinds = list(dict.fromkeys(table["kind"]))
    scores = table.set_index(["features", "encoding", "kind"])["validation"].to_dict()
    names = dict.fromkeys(zip(table["features"], table["encoding"], strict=True))
    cells = [(*name, [_cell(scores.get((*name, kind))) for kind in kinds]) for name in names]
    return {"kinds": kinds, "rows": cells, "best": float(table["validation"].max())}


def _cell(share: float | None) -> tuple[float | None, str, str]:
    return (share, *svg_charts.shade(share or 0.0))


def confusion(path: Path) -> dict[str, Any]:
    """The confusion matrix of a model, in counts and in shares of each row (the thesis' figures 25, 26, 32, 33)."""
    table = tables.read(path, ["actual", "predicted"])
    labels = sorted({*table["actual"], *table["predicted"]}, key=schema.natural)
    if len(labels) > MANY:
        right = (table["actual"] == table["predicted"]).groupby(table["actual"]).mean()
        labels = _ranked({str(label): float(recall) for label, recall in right.items()})[:SHOWN]
        table = table[table["actual"].isin(labels)]
        table = table.assign(predicted=table["predicted"].where(table["predicted"].isin(labels), OTHERS))
    columns = [*labels, OTHERS] if OTHERS in set(table["predicted"]) else labels
    counts = sklearn.metrics.confusion_matrix(table["actual"], table["predicted"], labels=columns)[: len(labels)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        (label, [(int(count), *_cell(float(share))) for count, share in zip(*row, strict=True)])
        for label, *row in zip(labels, counts, shares, strict=True)
    ]
    return {"labels": columns, "rows": rows}


def by_landmark(scored: ModelScores) -> ModelScores:
    """The same scores, of more than ``MANY`` landmarks those with the lowest and the highest recall, in this order."""
    ranked = _ranked({label: row.recall for label, row in scored.per_class.items()})
    if len(ranked) <= MANY:
        return scored
    return replace(scored, per_class={label: scored.per_class[label] for label in ranked[:SHOWN] + ranked[-SHOWN:]})


def distribution(scored: ModelScores) -> list[tuple[str, int]]:
    """How many landmarks have a recall in each tenth; nothing where ``by_landmark`` has all of them."""
    recalls = [row.recall for row in scored.per_class.values()]
    counts, ends = np.histogram(recalls, bins=10, range=(0, 1))
    tenths = [f"{low:.1f} to {high:.1f}" for low, high in pairwise(ends)]
    return list(zip(tenths, counts.tolist(), strict=True)) if len(recalls) > MANY else []


def _ranked(recall: Mapping[str, float]) -> list[str]:
    return sorted(recall, key=lambda label: (recall[label], schema.natural(label)))


def mistaken(confusion: Mapping[str, Path], anonymous: Path) -> dict[str, Any]:
    """The test photos that a model got wrong, with what each such model said; those first that most got wrong, at most ``MISTAKEN``.

    ``confusion`` has each model's table of the evaluate stage.
    """
    errors: dict[tuple[str, str], list[tuple[str, str, float]]] = {}
    for name, path in confusion.items():
        table = numbers(path, ["confidence"], ["id", "actual", "predicted"])
        for row in table[table["actual"] != table["predicted"]].itertuples():
            errors.setdefault((str(row.id), str(row.actual)), []).append(
                (name, str(row.predicted), float(str(row.confidence)))
            )
    store = PhotoStore(anonymous)
    ranked = sorted(errors.items(), key=lambda error: (-len(error[1]), error[0]))
    shown = [
        {
            "id": id_,
            "landmark": actual,
            "errors": found,
            "picture": html_page.photo(decoding.read(store[id_], SMALL)),
        }
        for (id_, actual), found in ranked[:MISTAKEN]
    ]
    return {"photos": shown, "total": len(ranked)}


def network(folder: Path, history: Path, name: str, inputs: Inputs, scored: ModelScores) -> dict[str, Any]:
    """Recipe, layers and training of a network (the thesis' figures 13, 14, 28 and 29), and its recall by class.

    Its history is by epoch, of a solved head by strength; ``epochs`` are the first and the last one.
    """
    described_recipe = recipe(inputs(folder / f"{name}.json"))
    layers = layers_of(folder / f"{name}.json")
    columns = ["step", "loss", "accuracy", "validation_loss", "validation_accuracy"]
    steps = numbers(inputs(history), columns, ["phase"])
    recalls = [row.recall for row in scored.per_class.values()]
    rows = [{**row, "step": int(row["step"])} for row in steps.to_dict("records")]
    by_epoch = {} if described_recipe["recipe"] == "frozen" else {"first": rows[0], "last": rows[-1]}
    return {
        "recipe": described_recipe,
        "objective": objective(described_recipe),
        "layers": layers,
        "total": sum(layer["trained"] + layer["fixed"] for layer in layers),
        "trained": sum(layer["trained"] for layer in layers),
        "history": rows,
        "epochs": by_epoch,
        "recall": {"lowest": min(recalls, default=None), "highest": max(recalls, default=None)},
    }


def objective(recipe: dict[str, Any]) -> dict[str, str]:
    """Loss function and optimiser of a network by name (the thesis' figure 28)."""
    if recipe["recipe"] == "frozen":
        return {"loss": "cross-entropy, l2 on the weights", "optimiser": "L-BFGS, to convergence"}
    falling = ", along a cosine to 0" if recipe["cosine"] else ""
    return {
        "loss": f"CategoricalCrossentropy(from_logits=True, label_smoothing={recipe['label_smoothing']})",
        "optimiser": f"SGD(learning_rate={recipe['learning_rate']}, momentum={recipe['momentum']}){falling}",
    }
