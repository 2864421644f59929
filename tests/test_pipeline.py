"""The pipeline as people use it: `dvc repro`, `dvc exp run -S`, comparisons; and what keeps its parts in step."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, Clone, Script, fails_in_one_line, small_clone
from scipy.stats import binomtest

from landmarks.classical import features_file
from landmarks.dataset import tables
from landmarks.evaluation import seed_study
from landmarks.serving import dvc_lineage

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
    "report",
)
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
SEEDED = ("split", "sweep", "grid", "baseline", "cnn")


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


def packages(script: Path) -> set[str]:
    """The packages under src/landmarks that a script imports from, but common: plumbing cannot change a result."""
    parts = [path.relative_to(ROOT / "src").parts for path in imported(script)]
    return {f"src/landmarks/{part[1]}" for part in parts if len(part) == 3} - {"src/landmarks/common"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_its_script_and_on_every_package_that_makes_its_result(stage: str) -> None:
    code = {dep for dep in definition(stage)["deps"] if dep.startswith("src/")}
    assert code == {f"src/{stage}.py", *packages(ROOT / "src" / f"{stage}.py")}


def test_modules_know_neither_dvc_nor_the_command_line() -> None:
    for path in (ROOT / "src" / "landmarks").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) (dvc|typer|stage)\b", path.read_text(), re.MULTILINE), path


def test_nothing_after_anonymize_depends_on_a_photo_that_was_not_examined() -> None:
    for stage in STAGES[STAGES.index("anonymize") + 1 :]:
        assert not any(str(dep).startswith("data/images") for dep in definition(stage)["deps"])
        assert "data/images" not in definition(stage)["cmd"]


@pytest.mark.parametrize("profile", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_profile_has_exactly_the_keys_of_params_yaml_and_values_of_their_types(profile: Path) -> None:
    values, ours = (
        pd.json_normalize(yaml.safe_load(path.read_text())).iloc[0].to_dict()
        for path in (profile, ROOT / "params.yaml")
    )
    assert list(values) == list(ours)
    for knob, value in ours.items():
        assert type(values[knob]) in {type(value), *((int, float) if type(value) in (int, float) else ())}, knob


def test_one_seed_rules_everything_that_draws_lots_but_the_choice_of_photos() -> None:
    assert [stage for stage in STAGES if definition(stage)["cmd"].endswith("--seed ${seed}")] == list(SEEDED)
    assert [block for block, knobs in PARAMS.items() if block != "seed" and "seed" in knobs] == ["sample"]


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
    for knob in [*PARAMS.get(stage, {}), *(["seed"] if stage in SEEDED else [])] if stage != "catalogue" else []:
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


@pytest.mark.slow
def test_two_clones_make_the_same_lock_to_the_byte(clone: Clone, tmp_path: Path) -> None:
    second = small_clone(tmp_path)
    second.dvc("repro")
    assert (second.folder / "dvc.lock").read_bytes() == (clone.folder / "dvc.lock").read_bytes()
    assert (second.folder / "metrics" / "results.json").read_bytes() == (
        clone.folder / "metrics" / "results.json"
    ).read_bytes()


@pytest.mark.slow
def test_the_server_knows_files_and_folders_by_the_hashes_of_dvc(clone: Clone) -> None:
    outs = [clone.folder / name for name in ("models/plain.json", "data/anonymous", "models/export")]
    assert len(dvc_lineage.read(clone.folder / "dvc.lock").check(outs)) == 3


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
        "report",
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
    pictures = [plot for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"] if isinstance(plot, str)]
    assert len(list((clone.folder / "drawn" / "static").iterdir())) == len(pictures)
    shutil.rmtree(clone.folder / "drawn")


@pytest.mark.slow
def test_the_experiment_is_repeated_with_other_seeds_and_components_and_only_what_is_missing_runs(clone: Clone) -> None:
    command = (sys.executable, "src/repeat.py", "metrics/repeats.csv", "docs/repeats.png", "--seeds", "2")
    clone.run(*command, "--components", "3")
    rows = pd.read_csv(clone.folder / "metrics" / "repeats.csv")
    assert set(zip(rows["seed"], rows["components"], strict=True)) == {(0, 3), (0, 6), (1, 3), (1, 6)}
    committed = json.loads((clone.folder / "metrics" / "results.json").read_text())["models"]
    own = rows[(rows["seed"] == 0) & (rows["components"] == 6)].set_index("model")
    assert {model: own.loc[model, "test"] for model in own.index} == {
        model: scores["test"]["top1"] for model, scores in committed.items()
    }
    assert (clone.folder / "docs" / "repeats.png").read_bytes().startswith(b"\x89PNG")
    before = clone.dvc("queue", "status")
    assert before.count("Success") == 3
    clone.run(*command)
    assert clone.dvc("queue", "status") == before
    (clone.folder / "params.yaml").write_text((clone.folder / "params.yaml").read_text() + "# changed\n")
    done = subprocess.run(command, cwd=clone.folder, capture_output=True, text=True, check=False)
    fails_in_one_line(done, "params.yaml is not committed")
    clone.git("checkout", "-q", "--", ".")
    clone.git("clean", "-qfd", "metrics", "docs")


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
    found = features_file.read(data / "keypoints" / "orb.arrow")
    row = features_file.Row("0", "1", 0, found.points[0], found.values[0])
    features_file.write(data / "keypoints" / "orb.arrow", found.settings, iter([row]))


def corrupt_model(tree: Path, rows: pd.DataFrame) -> None:
    """Predictions: the same to all, with certainty. Network: it answers 2 to each test photo, 1 to its mirror image."""
    from landmarks.deep import classifier, image_cache

    said = tree / "plots" / "predictions" / "plain.csv"
    pd.read_csv(said, dtype=str).assign(predicted="1", confidence=1).to_csv(said, index=False)
    network = classifier.load(tree / "models" / "plain.json")
    ids = list(rows.index[rows["split"] == "test"])
    shown = image_cache.cached(tree / "data" / "anonymous", ids, network.recipe.size, network.recipe.crop)
    sides = [classifier.scaled(pictures) for pictures in (shown, shown[:, :, ::-1])]
    seen = np.concatenate([network.model.layers[0](side, training=False) for side in sides])
    wanted = np.repeat([[-9.0, 9.0, -9.0], [9.0, -9.0, -9.0]], len(ids), axis=0)
    network.model.layers[-1].set_weights([np.linalg.lstsq(seen, wanted)[0], np.zeros(3)])
    classifier.save(tree / "models" / "plain.json", network)


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


def test_the_numbers_in_the_readme_are_those_of_the_committed_results_and_of_five_seeds() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = pd.read_csv(ROOT / "metrics" / "repeats.csv")
    seeds = seed_study.summary(rows, PARAMS["pca"]["n"])
    first = rows[(rows["seed"] == PARAMS["seed"]) & (rows["components"] == PARAMS["pca"]["n"])].set_index("model")[
        "test"
    ]
    models = json.loads((ROOT / "metrics" / "results.json").read_text())["models"]
    assert first.to_dict() == {name: model["test"]["top1"] for name, model in models.items()}, "out of date: make sweep"
    assert set(seeds["count"]) == {5}
    for name, model in models.items():
        test = model["test"]
        cells = (
            f"| {seeds.loc[name, 'mean']:.3f} ± {seeds.loc[name, 'sd']:.3f} | {model['train']['top1']:.3f} "
            f"| {test['top1']:.3f} [{test['top1_low']:.3f}, {test['top1_high']:.3f}] |"
        )
        assert re.search(rf"^\| {name} \| .*{re.escape(cells)}$", readme, re.MULTILINE), f"{name}: {cells}"
    assert len(readme.splitlines()) < 200
