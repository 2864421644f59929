"""All that a report of the experiment shows, gathered from what the other stages wrote; which models, the results say."""

import operator
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from landmarks.common.errors import InputError
from landmarks.common.files import read_json, read_yaml
from landmarks.dataset import places, tables
from landmarks.evaluation import results
from landmarks.evaluation.results import ModelScores
from landmarks.images.photo_store import PhotoStore
from landmarks.reporting import html_page, sections, svg_charts
from landmarks.reporting.inputs import Inputs, dotted, flat, numbers, require

SWEPT = {"train": "train", "validation": "validation", "all_train": "train (all of it)", "test": "test"}


def gather(
    data: Path, plots: Path, models: Path, evaluation: Path, params: Path, profile: Path, lock: Path, title: str
) -> dict[str, Any]:
    """All that the page shows, by section: plain values, pictures and charts; the arguments are those of src/report.py.

    The models and detectors are those of ``evaluation``. Raises ``InputError`` that names a file which is missing or malformed.
    """
    inputs = Inputs()
    found = results.read(inputs(evaluation))
    needed = (
        "download.failed",
        "split.landmarks",
        "keypoints",
    )  # of what is read here; the page misses others by itself
    require(evaluation, found.data, needed, "dvc repro --force evaluate")
    facts: dict[str, Any] = {
        "models": {name: sections.by_landmark(model) for name, model in found.models.items()},
        "recalls": {name: sections.distribution(model) for name, model in found.models.items()},
        "data": found.data,
        **_settings(params, inputs(profile)),
        "title": title,
        "names": places.names(inputs(models / "landmarks.csv")),
        "failed": sum(found.data["download"]["failed"].values()),
        "packages": pins(inputs(lock)),
        "thesis": read_yaml(html_page.TEMPLATES / "thesis.yaml"),
        "best": best(found.models, found.models),
        "picture": lambda name: html_page.plot(inputs(plots / f"{name}.png")),
        "inputs": inputs.listed,
    }
    facts |= _of_data(data, facts, inputs)
    facts |= _of_models(models, plots, found.models, inputs)
    facts |= _of_plots(plots, facts, inputs)
    tables_of = {name: inputs(plots / "confusion" / f"{name}.csv") for name in found.models}
    facts["mistaken"] = sections.mistaken(tables_of, data / "anonymous")
    facts["comparison"] = comparison(facts["thesis"], facts, facts["differing"])
    facts["charts"] = charts(facts)
    return facts


def best(models: dict[str, ModelScores], among: Iterable[str]) -> str | None:
    """The model with the highest validation accuracy, of equals the one of the lowest log-loss there: no test photo chooses."""
    known = [name for name in models if name in set(among)]

    def rank(name: str) -> tuple[float, float]:
        return models[name].validation.top1, -models[name].probabilities["validation"].log_loss

    return max(known, key=rank, default=None)


def comparison(
    thesis: dict[str, Any], facts: dict[str, Any], differing: Iterable[tuple[str, Any, Any]]
) -> list[dict[str, Any]]:
    """Each value of the thesis, ours by the nearest recipe, whether its parameters differ, and the best of ours.

    ``ours`` is None where the model that it comes from is not among the results.
    """
    blocks = {name.split(".")[0] for name, _, _ in differing}
    rows = []
    for value in thesis["values"]:
        family = facts["models"] if value.get("best") == "all" else facts["keypoint_models"]
        top = best(facts["models"], family) if "best" in value else None
        ours = dotted(facts, value["ours"])
        rows.append({
            **value,
            "ours": ours,
            "other": ours is not None and bool(blocks.intersection(value["blocks"])),
            "top": top,
            "top_score": getattr(facts["models"][top].test, value["score"]) if top else None,
        })  # fmt: skip
    return rows


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Name, the thesis' value and ours of every parameter that differs, but those that only label and order results."""
    names = [name for name in ours if not name.startswith(("report.", "evaluate."))]
    return [(name, theirs.get(name), ours[name]) for name in names if theirs.get(name) != ours[name]]


def pins(path: Path) -> list[tuple[str, str]]:
    """Packages and versions of a lock file."""
    try:
        return re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\n]+)", path.read_text(), re.MULTILINE)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: git checkout {path}") from None


def charts(facts: dict[str, Any]) -> dict[str, html_page.Picture]:
    """The charts by the id of their figure: sweep, scores, and loss and accuracy of each network."""
    components = [row["components"] for row in facts["sweep"]]
    swept = {label: [row[name] for row in facts["sweep"]] for name, label in SWEPT.items()}
    interval = operator.attrgetter("top1_low", "top1", "top1_high")
    scores = {name: interval(model.test) for name, model in facts["models"].items()}
    drawn = {
        "sweep": svg_charts.lines(components, swept, "principal components", "accuracy"),
        "scores-chart": svg_charts.intervals(scores, 1 / facts["data"]["split"]["landmarks"], "accuracy", "chance"),
    }
    for name, network in facts["networks"].items():
        steps, unit = [row["step"] for row in network["history"]], "epoch" if network["epochs"] else "strength"
        for measure in ("loss", "accuracy"):
            columns = {"training": measure, "validation": f"validation_{measure}"}
            series = {label: [row[column] for row in network["history"]] for label, column in columns.items()}
            drawn[f"{measure}-{name}"] = svg_charts.lines(steps, series, unit, measure)
    return {name: html_page.chart(svg) for name, svg in drawn.items()}


def _settings(params: Path, profile: Path) -> dict[str, Any]:
    """The parameters, and how they differ from the thesis'; the contact address is private."""
    parameters = read_yaml(params)
    needed = ("catalogue.source", "sample.classes", "encoding.keypoints")
    require(params, parameters, needed, "git checkout params.yaml")
    settings = sorted((name, value) for name, value in flat(parameters).items() if name != "download.contact")
    return {
        "demo": str(parameters["catalogue"]["source"]).endswith((".yaml", ".yml")),
        "parameters": parameters,
        "settings": settings,
        "seeds": [(name, value) for name, value in settings if name.rpartition(".")[2] == "seed"],
        "differing": differing(dict(settings), flat(read_yaml(profile))),
    }


def _of_data(data: Path, facts: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
    split = tables.read_split(inputs(data / "split.csv"))
    audit = inputs(data / "faces.json")
    examined = read_json(audit, "anonymize")
    require(audit, examined, ["photos"], "dvc repro --force anonymize")
    keypoints = {name: inputs(data / "keypoints" / f"{name}.arrow") for name in facts["data"]["keypoints"]}
    table, parameters = keypoints.get(facts["thesis"]["descriptors"]), facts["parameters"]
    return {
        "catalogue": sections.catalogue(inputs(data / "catalogue.csv")),
        "commonest": sections.commonest(inputs(data / "clean.parquet"), parameters["sample"]["classes"]),
        "parts": sections.parts(split),
        "examples": sections.examples(split, examined["photos"], data / "anonymous"),
        "anonymous": _size(data / "anonymous"),
        "descriptors": sections.descriptors(table, parameters["encoding"]["keypoints"]) if table else None,
        "described_sizes": {name: path.stat().st_size for name, path in keypoints.items()},
    }


def _size(anonymous: Path) -> dict[str, int]:
    """How many photos there are, and their bytes on disk."""
    count = len(list(PhotoStore(anonymous)))
    return {"count": count, "bytes": sum(path.stat().st_size for path in anonymous.glob("*"))}


def _of_models(models: Path, plots: Path, scored: dict[str, ModelScores], inputs: Inputs) -> dict[str, Any]:
    """The models among the results: those on keypoints and networks are on disk, others are made of their predictions."""
    keypoint_models = [name for name in scored if (models / f"{name}.skops").exists()]
    histories = {name: plots / "history" / f"{name}.csv" for name in scored}
    networks = [name for name, path in histories.items() if path.exists() or (models / f"{name}.json").exists()]
    files = [inputs(models / f"{name}.skops") for name in keypoint_models]
    files += [inputs(models / f"{name}.weights.h5") for name in networks]
    return {
        "keypoint_models": keypoint_models,
        "networks": {name: sections.network(models, histories[name], name, inputs, scored[name]) for name in networks},
        "sizes": [(path.name, path.stat().st_size) for path in files],
    }


def _of_plots(plots: Path, facts: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
    sweep = numbers(inputs(plots / "sweep.csv"), ["components", *SWEPT]).to_dict("records")
    confused = [name for name in facts["models"] if name in {*facts["thesis"]["confusion"], facts["best"]}]
    return {
        "sweep": [{**row, "components": int(row["components"])} for row in sweep],
        "grid": sections.grid(inputs(plots / "grid.csv")),
        "confusion": {name: sections.confusion(inputs(plots / "confusion" / f"{name}.csv")) for name in confused},
    }
