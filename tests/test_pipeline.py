"""The pipeline as people use it: `dvc repro`, `dvc exp run -S`, comparisons; and what keeps its parts in step."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, Script
from scipy.stats import binomtest

from landmarks import features, tables

STAGES = (
    "catalogue",
    "clean",
    "sample",
    "download",
    "anonymize",
    "split",
    "keypoints",
    "sweep",
    "grid",
    "baseline",
    "retrieve",
    "cnn",
    "fuse",
    "reject",
    "explain",
    "export",
    "evaluate",
    "cards",
)
PLUMBING = {
    f"src/{name}.py"
    for name in ("stage", *(f"landmarks/{module}" for module in ("__init__", "errors", "files", "progress", "work")))
}
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())


def imported(script: Path) -> set[Path]:
    """The modules of src/ that a script imports, directly or not."""
    found, todo = set(), [script]
    while todo:
        path = todo.pop()
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            paths = {ROOT / "src" / f"{name.replace('.', '/')}.py" for name in names}
            todo += [path for path in paths if path.exists() and path not in found]
    return found


def definition(stage: str) -> dict[str, Any]:
    return dict(PIPELINE[stage].get("do", PIPELINE[stage]))


def test_the_stages_stand_in_the_order_of_the_experiment_and_each_is_a_script() -> None:
    assert tuple(PIPELINE) == STAGES
    for stage in STAGES:
        assert f"python src/{stage}.py " in definition(stage)["cmd"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_module_that_makes_its_result(stage: str) -> None:
    """All that its script imports but the plumbing (command line, files, workers), which cannot change a result."""
    modules = {str(path.relative_to(ROOT)) for path in imported(ROOT / "src" / f"{stage}.py")} - PLUMBING
    assert {dep for dep in definition(stage)["deps"] if dep.startswith("src/") and dep.endswith(".py")} == modules


def test_modules_know_neither_dvc_nor_the_command_line() -> None:
    for path in (ROOT / "src" / "landmarks").glob("*.py"):
        assert not re.search(r"^\s*(import|from) (dvc|typer|stage)\b", path.read_text(), re.MULTILINE), path


def test_nothing_after_anonymize_depends_on_a_photo_that_was_not_examined() -> None:
    for stage in STAGES[STAGES.index("anonymize") + 1 :]:
        assert not any(str(dep).startswith("data/images") for dep in definition(stage)["deps"])
        assert "data/images" not in definition(stage)["cmd"]


@pytest.mark.parametrize("profile", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_profile_has_exactly_the_keys_of_params_yaml_and_values_of_their_types(profile: Path) -> None:
    values = yaml.safe_load(profile.read_text())
    assert {block: list(knobs) for block, knobs in values.items()} == {
        block: list(knobs) for block, knobs in PARAMS.items()
    }
    for block, knobs in PARAMS.items():
        for knob, value in knobs.items():
            assert type(values[block][knob]) in {type(value), *((int, float) if type(value) in (int, float) else ())}


def test_the_thesis_profile_holds_the_values_of_the_thesis() -> None:
    thesis = yaml.safe_load((ROOT / "profiles" / "thesis.yaml").read_text())
    assert (thesis["sample"]["classes"], thesis["sample"]["per_class"], thesis["split"]["test"]) == (10, 200, 0.3)
    assert (thesis["keypoints"]["count"], thesis["keypoints"]["protocol"]) == (32, "thesis")
    assert list(range(*(thesis["sweep"][k] for k in ("start", "stop", "step")))) == list(range(10, 200, 5))
    cnn = thesis["cnn"]
    assert (cnn["head"], cnn["recipe"], cnn["epochs"], cnn["batch"], cnn["size"]) == (
        [20000, 1000, 200],
        "thesis",
        20,
        32,
        224,
    )
    assert (cnn["learning_rate"], cnn["momentum"], cnn["label_smoothing"], cnn["l2"], cnn["dropout"]) == (
        0.05,
        0.9,
        0.1,
        1e-4,
        0.2,
    )
    assert cnn["module"].endswith("google/imagenet/mobilenet_v2_100_224/feature_vector/4")


@pytest.mark.parametrize("stage", [*STAGES, "backbone"])
def test_every_script_explains_itself_and_every_parameter_is_an_option_of_its_script(
    script: Script, stage: str
) -> None:
    done = script(stage, "--help", COLUMNS="200", NO_COLOR="1", TERM="dumb")
    assert done.returncode == 0
    for knob in PARAMS.get(stage, {}) if stage != "catalogue" else {}:
        assert f"--{knob.replace('_', '-')}" in done.stdout, knob


def test_every_model_of_the_pipeline_is_evaluated_and_plotted() -> None:
    models = [*PIPELINE["baseline"]["foreach"], *PIPELINE["cnn"]["foreach"], "fused"]
    assert PARAMS["evaluate"]["model"] == models
    deps = [dep for dep in PIPELINE["evaluate"]["deps"] if dep.startswith("plots/predictions/")]
    assert sorted(deps) == sorted(f"plots/predictions/{model}.csv" for model in models)
    plots = (ROOT / "dvc.yaml").read_text()
    assert all(plots.count(f"plots/confusion/{model}.csv") == 2 for model in models)


def test_the_lock_pins_one_headless_opencv_below_5_and_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text()
    pins = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\n]+)", text, re.MULTILINE))
    assert [name for name in pins if name.startswith("opencv")] == ["opencv-python-headless"]
    assert int(pins["opencv-python-headless"].split(".")[0]) == 4
    assert int(pins["setuptools"].split(".")[0]) < 81
    assert "://" not in text
    assert "--index" not in text


def test_the_committed_results_have_the_shape_the_field_expects() -> None:
    results = json.loads((ROOT / "metrics" / "results.json").read_text())
    tests = {name: model["test"] for name, model in results["models"].items()}
    assert set(results["data"]) == DATA
    assert results["models"]["bayes_raw"]["train"]["top1"] - tests["bayes_raw"]["top1"] >= 0.25
    assert tests["bayes_raw"]["top1_high"] < 0.6
    assert min(tests["plain"]["top1"], tests["augmented"]["top1"]) >= 0.9
    assert min(tests["vlad"]["top1_low"], tests["fisher"]["top1_low"]) > tests["bayes_raw"]["top1_high"]
    assert tests["fused"]["top1"] >= max(tests["plain"]["top1"], tests["fisher"]["top1"]) - 0.02
    rejected = results["data"]["reject"]
    assert rejected["unknown_rejected_low"] > rejected["known_rejected_high"]
    assert {results["data"]["export"][form]["same_top1"] for form in ("saved_model", "float32")} == {1.0}
    assert results["data"]["export"]["int8"]["top1"] >= tests["plain"]["top1"] - 0.01
    assert results["data"]["split"]["near_duplicates"] > 0
    assert results["data"]["download"]["short"] == 0
    assert min(results["data"]["anonymize"]["faces"], results["data"]["download"]["replaced"]) > 0


DATA = {
    "catalogue",
    "clean",
    "download",
    "anonymize",
    "split",
    "keypoints",
    "sweep",
    "grid",
    "retrieve",
    "reject",
    "export",
}
SMALL = (  # the real pipeline, smaller
    ("per_class: 60", "per_class: 12"), ("reserve: 30", "reserve: 12"), ("unknown: 60", "unknown: 6"), ("classes: 10", "classes: 3"), ("start: 10", "start: 2"),
    ("stop: 200", "stop: 8"), ("folds: 5", "folds: 2"), ("n: 10", "n: 6"), ("epochs: 40", "epochs: 3"),
    ("long_side: 400", "long_side: 200"), ("views: 8", "views: 1"), ("words: 64", "words: 8"), ("sample: 60000", "sample: 5000"),
)  # fmt: skip


class Clone:
    """A clone of the working tree with smaller parameters, and DVC to run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        params = (folder / "params.yaml").read_text()
        for before, after in SMALL:
            assert before in params
            params = params.replace(before, after)
        (folder / "params.yaml").write_text(params)
        (folder / "dvc.lock").unlink(missing_ok=True)
        self.git("init", "-q")
        self.commit("small")

    def run(self, *command: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command, cwd=self.folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        return self.run("dvc", *arguments)

    def git(self, *arguments: str) -> str:
        return self.run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments)

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", message)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A small clone that ran the pipeline once."""
    made = Clone(tmp_path_factory.mktemp("clone"))
    made.dvc("repro")
    made.commit("first run")
    return made


@pytest.mark.slow
def test_two_clones_make_the_same_lock_to_the_byte(clone: Clone, tmp_path: Path) -> None:
    second = Clone(tmp_path)
    second.dvc("repro")
    assert (second.folder / "dvc.lock").read_bytes() == (clone.folder / "dvc.lock").read_bytes()
    assert (second.folder / "metrics" / "results.json").read_bytes() == (
        clone.folder / "metrics" / "results.json"
    ).read_bytes()


@pytest.mark.slow
def test_a_second_repro_runs_nothing(clone: Clone) -> None:
    assert "Running stage" not in clone.dvc("repro")


@pytest.mark.slow
def test_one_changed_parameter_runs_what_depends_on_it_and_shows_in_the_comparisons(clone: Clone) -> None:
    said = clone.dvc("exp", "run", "-S", "pca.n=4")
    assert re.findall(r"Running stage '(.+)'", said) == [
        "baseline@bayes",
        "baseline@bayes_orb",
        "evaluate",
        "cards",
    ]
    table = clone.dvc("metrics", "diff", "--md", "--precision", "3")
    assert "models.bayes.test.top1" in table or "models.bayes.train.top1" in table
    assert "models.plain.test.top1" not in table
    assert "pca.n" in clone.dvc("params", "diff")
    assert "pca.n" in clone.dvc("exp", "show", "--csv")
    clone.git("checkout", "-q", "--", ".")
    clone.dvc("checkout")


@pytest.mark.slow
def test_the_plots_are_drawn(clone: Clone) -> None:
    clone.dvc("plots", "show", "-o", "drawn")
    page = (clone.folder / "drawn" / "index.html").read_text()
    for title in (
        "Accuracy by epoch",
        "Loss by epoch",
        "Confusion of plain on test, normalised",
        "Accuracy by number of principal components",
    ):
        assert title in page
    assert len(list((clone.folder / "drawn" / "static").iterdir())) == 13
    shutil.rmtree(clone.folder / "drawn")


@pytest.mark.slow
def test_queued_experiments_run(clone: Clone) -> None:
    for n in (3, 5):
        clone.dvc("exp", "run", "--queue", "-S", f"pca.n={n}")
    clone.dvc("queue", "start")
    end = time.monotonic() + 180
    while "Queued" in (status := clone.dvc("queue", "status")) or "Running" in status:
        assert time.monotonic() < end, status
        time.sleep(1)
    assert status.count("Success") == 2, status


@pytest.mark.slow
def test_a_parameter_that_does_not_exist_is_an_error(clone: Clone) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "dvc", "exp", "run", "-S", "pca.m=4"],
        cwd=clone.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "pca.m" in done.stderr


@pytest.mark.slow
def test_a_photo_no_longer_in_the_sample_is_gone_from_the_photos(clone: Clone) -> None:
    images = {path.stem for path in (clone.folder / "data" / "images").iterdir()}
    clone.dvc("exp", "run", "anonymize", "-S", "sample.per_class=10")
    fewer = {path.stem for path in (clone.folder / "data" / "images").iterdir()}
    assert fewer < images
    assert {path.stem for path in (clone.folder / "data" / "anonymous").iterdir()} == fewer
    clone.git("checkout", "-q", "--", ".")
    clone.dvc("checkout")


def guard(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the guards on a tree, as `make guard` does there."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/guards", *arguments]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_guards_let_the_run_pass(clone: Clone) -> None:
    """But for naive Bayes: twelve test photos are too few to tell it from the majority class."""
    done = guard(clone.folder, "-k", "not majority_class or not bayes")
    assert done.returncode == 0, done.stdout[-3000:]


def corrupt_data(data: Path, rows: pd.DataFrame) -> None:
    train, test = (list(rows.index[rows["split"] == part]) for part in ("train", "test"))
    shutil.copy(data / "anonymous" / f"{train[0]}.jpg", data / "anonymous" / f"{test[0]}.jpg")  # uploaded twice
    catalogue = pd.read_parquet(data / "clean.parquet")
    catalogue.loc[catalogue["id"] == train[1], "landmark_id"] = "elsewhere"
    catalogue.to_parquet(data / "clean.parquet")
    with (data / "unknown.csv").open("a") as file:  # a known place, twice
        file.write(f"{train[2]}\n" * 2)
    kept = rows.index[(rows["split"] == "test") & (rows["landmark_id"] == "1")][0]
    moved = (rows["split"] == "test") & (rows["landmark_id"] == "1") & (rows.index != kept)
    rows.assign(split=rows["split"].mask(moved, "train")).to_csv(data / "split.csv")  # out of balance
    audit = json.loads((data / "faces.json").read_text())
    del audit["photos"][train[3]]  # nobody examined it
    (data / "faces.json").write_text(json.dumps(audit))
    found = features.read(data / "keypoints" / "orb.arrow")
    row = features.Row("0", "1", 0, found.points[0], found.values[0])
    features.write(data / "keypoints" / "orb.arrow", found.settings, iter([row]))


def corrupt_model(tree: Path, rows: pd.DataFrame) -> None:
    """Predictions: the same to all, with certainty. Network: it answers 2 to each test photo, 1 to its mirror image."""
    from landmarks import networks, squares

    said = tree / "plots" / "predictions" / "plain.csv"
    pd.read_csv(said, dtype=str).assign(predicted="1", confidence=1).to_csv(said, index=False)
    network = networks.load(tree / "models" / "plain.json")
    ids = list(rows.index[rows["split"] == "test"])
    shown = squares.cached(tree / "data" / "anonymous", ids, network.recipe.size, network.recipe.crop)
    sides = [networks.scaled(pictures) for pictures in (shown, shown[:, :, ::-1])]
    seen = np.concatenate([network.model.layers[0](side, training=False) for side in sides])
    wanted = np.repeat([[-9.0, 9.0, -9.0], [9.0, -9.0, -9.0]], len(ids), axis=0)
    network.model.layers[-1].set_weights([np.linalg.lstsq(seen, wanted)[0], np.zeros(3)])
    networks.save(tree / "models" / "plain.json", network)


@pytest.mark.slow
def test_every_guard_fails_on_what_it_guards_against(clone: Clone, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(clone.folder, tree, ignore=shutil.ignore_patterns(".git", ".dvc", "export"))
    rows = tables.read_split(tree / "data" / "split.csv")
    corrupt_data(tree / "data", rows)
    corrupt_model(tree, tables.read_split(tree / "data" / "split.csv"))
    said = guard(tree, "--tb=line", "-k", "not augmented").stdout
    for reason in (
        "near-duplicates on two sides",
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


def test_the_committed_models_beat_always_the_same_answer_and_can_be_taken_at_their_word() -> None:
    """What of tests/guards can be told from the committed results alone."""
    results = json.loads((ROOT / "metrics" / "results.json").read_text())
    photos, landmarks = results["data"]["split"]["test"], results["data"]["split"]["landmarks"]
    commonest = 1.5 / (landmarks + 0.5)  # at most: the guards let a landmark be half as common again as the others
    for name, model in results["models"].items():
        right = round(model["test"]["top1"] * photos)
        if name != "tree":
            assert binomtest(right, photos, commonest, alternative="greater").pvalue < 0.01, name
        if name not in ("bayes_raw", "bayes", "bayes_orb", "tree"):
            assert model["test"]["calibration_error"] <= 0.1, name
            assert model["test"]["top1"] >= max(
                results["models"][bayes]["test"]["top1"] for bayes in ("bayes_raw", "bayes")
            )


def test_the_numbers_in_the_readme_are_those_of_the_committed_results() -> None:
    readme = (ROOT / "README.md").read_text()
    for name, model in json.loads((ROOT / "metrics" / "results.json").read_text())["models"].items():
        test = model["test"]
        cells = (
            f"| {model['train']['top1']:.3f} | {test['top1']:.3f} [{test['top1_low']:.3f}, {test['top1_high']:.3f}] |"
        )
        assert re.search(rf"^\| {name} \| .*{re.escape(cells)}$", readme, re.MULTILINE), f"{name}: {cells}"
    assert len(readme.splitlines()) < 200
