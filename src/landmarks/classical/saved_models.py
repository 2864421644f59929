"""Classical models on disk: loaded without executing anything, and held against what they were trained on."""

import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.pipeline import Pipeline

from landmarks.classical import encodings
from landmarks.classical.local_features import FeatureSettings
from landmarks.common.errors import InputError
from landmarks.common.files import whole

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date a ZIP entry can have
OURS: tuple[type, ...] = (encodings.Flat, *encodings.ENCODERS.values())
TRUSTED = [*(f"{kind.__module__}.{kind.__name__}" for kind in OURS), "sklearn.tree._tree.Tree"]


def save(path: Path, model: Pipeline, settings: FeatureSettings) -> None:
    """Write a fitted pipeline beside the settings of the descriptors it was fitted on; the bytes depend on these alone."""
    content = skops.io.dumps({"model": model, "descriptors": asdict(settings)})
    with whole(path) as partial:
        partial.write_bytes(_canonical(content))


def load(path: Path, settings: FeatureSettings) -> Pipeline:
    """Read what ``save`` wrote; nothing but scikit-learn's classes and this project's encodings is built from it.

    Raises ``InputError`` if it is missing, is something else, holds anything further, or was trained on descriptors made
    with other ``settings``.
    """
    try:
        stored: dict[str, Any] = skops.io.load(path, trusted=TRUSTED)
        model, trained_on = stored["model"], dict(stored["descriptors"])
        _require_sound(model)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: dvc repro baseline") from None
    except Exception as error:  # strangers' bytes: skops, zipfile and json raise what they like
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: not a model of the baseline stage ({said}); run: dvc repro -f baseline") from None
    if trained_on != asdict(settings):
        other = ", ".join(f"{k} {value!r}" for k, value in asdict(settings).items() if trained_on.get(k) != value)
        raise InputError(f"{path}: trained on other descriptors than these, with {other}; run: dvc repro baseline")
    return model


def _require_sound(model: Any) -> None:
    """Raise ``ValueError`` unless it is a pipeline that begins with an encoding, and any tree in it keeps to its memory.

    scikit-learn's compiled trees follow whatever node numbers they are given.
    """
    if not (isinstance(model, Pipeline) and isinstance(model[0], OURS)):
        raise ValueError("no pipeline from descriptors")
    tree = getattr(model[-1], "tree_", None)
    if tree is not None:
        nodes, places = tree.node_count, np.arange(tree.node_count)
        leaf = (tree.children_left == -1) & (tree.children_right == -1)
        inside = [(places < child) & (child < nodes) for child in (tree.children_left, tree.children_right)]
        known = (tree.feature >= 0) & (tree.feature < tree.n_features)
        if not (nodes > 0 and len(tree.children_left) == nodes and (leaf | (inside[0] & inside[1] & known)).all()):
            raise ValueError("its tree leads nowhere")


def _canonical(content: bytes) -> bytes:
    """The same ZIP with its entries numbered in the order of the schema, and without the time of day.

    skops names objects by their address in memory, which is another one in every process.
    """
    numbers: dict[int, int] = {}

    def number(address: int) -> int:
        return numbers.setdefault(address, len(numbers))

    def renumbered(node: dict[str, Any]) -> dict[str, Any]:
        if isinstance(node.get("__id__"), int):
            node["__id__"] = number(node["__id__"])
        if isinstance(node.get("file"), str):
            node["file"] = renamed(node["file"])
        return node

    def renamed(file: str) -> str:
        address, _, kind = file.partition(".")
        return f"{number(int(address))}.{kind}"

    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        schema = json.loads(old.read("schema.json"), object_hook=renumbered)
        files = {renamed(name): old.read(name) for name in old.namelist() if name != "schema.json"}
        files["schema.json"] = json.dumps(schema, indent=1).encode()
        for name in sorted(files):
            new.writestr(zipfile.ZipInfo(name, EPOCH), files[name], zipfile.ZIP_DEFLATED)
    return made.getvalue()
