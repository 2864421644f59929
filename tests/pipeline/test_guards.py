"""The guards of `make guard` pass on a run of the pipeline, and each fails on what it guards against."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import ROOT, Clone

from landmarks.classical import features_file
from landmarks.dataset import tables


def guard(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the guards on a tree, as `make guard` does there."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/guards", *arguments]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_guards_let_the_run_pass(first_run: Clone) -> None:
    """But for naive Bayes: twelve test photos are too few to tell it from the majority class."""
    done = guard(first_run.folder, "-k", "not majority_class or not bayes")
    assert done.returncode == 0, done.stdout[-3000:]


def corrupt_data(data: Path, rows: pd.DataFrame) -> None:
    train, test = (list(rows.index[rows["split"] == part]) for part in ("train", "test"))
    shutil.copy(data / "anonymous" / f"{train[0]}.jpg", data / "anonymous" / f"{test[0]}.jpg")  # another photo
    catalogue = pd.read_parquet(data / "clean.parquet")
    catalogue.loc[catalogue["id"] == train[1], "landmark_id"] = "elsewhere"
    catalogue.to_parquet(data / "clean.parquet")
    with (data / "unknown.csv").open("a") as file:  # a known place, twice
        file.write(f"{train[2]}\n" * 2)
    kept = rows.index[(rows["split"] == "test") & (rows["landmark_id"] == "1")][0]
    moved = (rows["split"] == "test") & (rows["landmark_id"] == "1") & (rows.index != kept)
    rows["split"] = rows["split"].mask(moved, "train")  # out of balance
    torn = rows.index[(rows["split"] == "test") & (rows["landmark_id"] != "1")][0]
    rows.assign(group=rows["group"].where(rows.index != torn, rows.loc[train[4], "group"])).to_csv(data / "split.csv")
    audit = json.loads((data / "faces.json").read_text())
    del audit["photos"][train[3]]  # nobody examined it
    audit["photos"][test[0]].update(faces=[])
    audit["photos"][test[1]]["hash"] = audit["photos"][train[1]]["hash"]  # uploaded twice
    (data / "faces.json").write_text(json.dumps(audit))
    found = features_file.read(data / "keypoints" / "orb.arrow")
    row = features_file.Row("0", "1", 0, found.points[0], found.values[0])
    features_file.write(data / "keypoints" / "orb.arrow", found.settings, iter([row]))


def corrupt_model(tree: Path, rows: pd.DataFrame) -> None:
    """Predictions: the same to all, with certainty. Network: it answers 2 to each test photo, 1 to its mirror image."""
    from landmarks.deep import classifier, image_cache

    said = tree / "data" / "predictions" / "plain.parquet"
    pd.read_parquet(said).assign(predicted="1", confidence=1.0).to_parquet(said, index=False)
    network = classifier.load(tree / "models" / "plain.json")
    ids = list(rows.index[rows["split"] == "test"])
    shown = image_cache.preprocessed(tree / "data" / "anonymous", ids, network.preprocessing)
    sides = [classifier.scaled(pictures) for pictures in (shown, shown[:, :, ::-1])]
    seen = np.concatenate([network.vectors(side) for side in sides])
    wanted = np.repeat([[-9.0, 9.0, -9.0], [9.0, -9.0, -9.0]], len(ids), axis=0)
    network.model.layers[-1].set_weights([np.linalg.lstsq(seen, wanted)[0], np.zeros(3)])
    classifier.save(tree / "models" / "plain.json", network)
    for study in ("learning_curve", "robustness"):
        table = tree / "plots" / f"{study}.csv"
        pd.read_csv(table).assign(accuracy=5.0).to_csv(table, index=False)


@pytest.mark.slow
def test_every_guard_fails_on_what_it_guards_against(first_run: Clone, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(first_run.folder, tree, ignore=shutil.ignore_patterns(".git", ".dvc", "export"))
    rows = tables.read_split(tree / "data" / "split.csv")
    corrupt_data(tree / "data", rows)
    corrupt_model(tree, tables.read_split(tree / "data" / "split.csv"))
    said = guard(tree, "--tb=line", "-k", "not augmented").stdout
    for reason in (
        "near-duplicates in two groups",
        "group .* of data/split.csv lies on two sides",
        "the hash of .* is of another photo",
        "unknown.csv: row .* stands in an earlier row",
        "another landmark in data/split.csv than in data/clean.parquet",
        "test_unknown_places_are_never_among_the_known",
        "test: {'[23]': 4, '[23]': 4, '1': 1}",
        "nobody examined it",
        "not what the gate wrote",
        "'0' is in the split or the features, not in both",
        "test_the_results_are_those_of_the_predictions",
        "plain: 1 of 9 right, always the same answer",
        r"test_a_network_is_at_least_as_good_as_naive_bayes\[plain\]",
        "plain: confidence and accuracy lie 0.889 apart",
        "models/plain.json: another model",
        "plain: the same answer to 0.000 of the mirrored photos",
    ):
        assert re.search(reason, said), f"{reason}\n{said[-6000:]}"
    guards = {node.name for path in (ROOT / "tests" / "guards").glob("*.py") for node in ast.parse(path.read_text()).body
              if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}  # fmt: skip
    assert {name for name in guards if f"::{name}" not in said} == set()  # each failed somewhere
