"""The pipeline as people run it: `dvc repro`, `dvc exp run -S`, comparisons, the study over seeds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import yaml
from support import ROOT, Clone, fails_in_one_line, small_clone

from landmarks.serving import dvc_lineage

if TYPE_CHECKING:
    from pipeline.conftest import Origin

SEED_STUDY = (
    sys.executable,
    "src/seed_study.py",
    "metrics/seeds.csv",
    "docs/seeds.png",
    "--seeds",
    "2",
    "--samples",
    "2",
)


def run_in(clone: Clone, *command: object) -> subprocess.CompletedProcess[str]:
    """Run a command that may fail."""
    return subprocess.run([*map(str, command)], cwd=clone.folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_second_repro_runs_nothing(clone: Clone) -> None:
    assert "Running stage" not in clone.dvc("repro")


@pytest.mark.slow
def test_one_changed_parameter_runs_what_depends_on_it_and_shows_in_the_comparisons(origin: Origin) -> None:
    ran = re.findall(r"Running stage '(.+)'", origin.printed["exp run -S pca.n=4"])
    assert ran[0] == "preflight"
    assert ran[1:3] == ["baseline@bayes", "baseline@bayes_orb"]
    assert set(ran[3:]) == {"learning_curve", "robustness", "evaluate", "plots", "cards", "report"}
    table = origin.printed["metrics diff --md --precision 3"]
    rows = re.findall(r"^\| metrics/results.json +\| ([\w.]+)", table, re.MULTILINE)
    assert {row.partition(".")[2] for row in rows} <= {"bayes", "bayes_orb"}
    assert 1 <= len(rows) <= 25
    assert rows == sorted(rows)
    assert max(map(len, table.splitlines())) <= 120
    assert "pca.n" in origin.printed["params diff"]
    assert "pca.n" in origin.printed["exp show --csv"]


@pytest.mark.slow
def test_the_experiments_fit_a_terminal_as_what_differs_between_them(origin: Origin) -> None:
    table = origin.clone.run(
        "make", "--silent", "--no-print-directory", "--old-file=setup", "experiments", COLUMNS="120"
    )
    head, *rows = [line for line in table.splitlines() if line.strip(" ─")]
    assert "pca.n" in head
    assert set(re.findall(r"[\w.]+bayes\w*", head)) <= {"accuracy.bayes", "accuracy.bayes_orb"}
    assert len(rows) == 3  # the tree, its commit, the experiment
    assert max(map(len, table.splitlines())) <= 120


@pytest.mark.slow
def test_a_model_is_one_entry_of_params_yaml(clone: Clone) -> None:
    """Fitted and evaluated; and its vocabulary is changed like any parameter. Plots and report take any model: their own tests."""
    params = clone.folder / "params.yaml"
    entry = "  sift_words: {features: sift, encoding: words, words: 8, pca: none, classifier: logistic}\n"
    params.write_text(params.read_text().replace("\nbaseline:", f"{entry}\nbaseline:"))
    expected = ["preflight", "baseline@sift_words", "evaluate"]
    assert re.findall(r"Running stage '(.+)'", clone.dvc("repro", "evaluate")) == expected
    assert "sift_words" in json.loads((clone.folder / "metrics" / "results.json").read_text())["accuracy"]
    clone.commit("a model")
    told = clone.dvc("exp", "run", "evaluate", "-S", "models.sift_words.words=4")
    assert re.findall(r"Running stage '(.+)'", told) == expected
    assert ".sift_words" in clone.dvc("metrics", "diff", "--md")


@pytest.mark.slow
def test_a_photo_no_longer_in_the_sample_is_gone_from_the_photos(clone: Clone) -> None:
    images = {path.stem for path in (clone.folder / "data" / "images").iterdir()}
    clone.dvc("exp", "run", "anonymize", "-S", "sample.per_class=10")
    fewer = {path.stem for path in (clone.folder / "data" / "images").iterdir()}
    assert fewer < images
    assert {path.stem for path in (clone.folder / "data" / "anonymous").iterdir()} == fewer


@pytest.mark.slow
def test_a_parameter_that_does_not_exist_is_an_error(clone: Clone) -> None:
    done = run_in(clone, Path(sys.executable).parent / "dvc", "exp", "run", "-S", "pca.m=4")
    assert done.returncode != 0
    assert "pca.m" in done.stderr


@pytest.mark.slow
def test_the_plots_are_drawn(clone: Clone) -> None:
    clone.dvc("plots", "show", "-o", "drawn")
    page = (clone.folder / "drawn" / "index.html").read_text()
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for model in (*params["models"], *params["networks"], *params["ensembles"]):
        assert f"{model}.csv" in page
    assert "Accuracy by number of principal components" in page
    pictures = [plot for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"] if isinstance(plot, str)]
    files = sum(len(list(path.glob("*.png"))) if (path := clone.folder / name).is_dir() else 1 for name in pictures)
    assert len(list((clone.folder / "drawn" / "static").iterdir())) == files


@pytest.mark.slow
def test_the_server_knows_files_and_folders_by_the_hashes_of_dvc(first_run: Clone) -> None:
    outs = [first_run.folder / name for name in ("models/plain.json", "data/anonymous", "models/export")]
    assert len(dvc_lineage.read(first_run.folder / "dvc.lock").check(outs)) == 3


@pytest.mark.slow
def test_a_study_over_seeds_starts_from_a_commit(clone: Clone) -> None:
    with (clone.folder / "params.yaml").open("a") as file:
        file.write("# changed\n")
    fails_in_one_line(run_in(clone, *SEED_STUDY), "params.yaml is not committed")


@pytest.mark.nightly
def test_two_clones_make_the_same_results_to_the_byte(first_run: Clone, tmp_path: Path) -> None:
    second = small_clone(tmp_path)
    second.dvc("repro")
    # stages that ran side by side stand in the lock in the order in which they ended
    one, other = (yaml.safe_load((clone.folder / "dvc.lock").read_text()) for clone in (first_run, second))
    assert one == other
    for name in ("metrics/evaluation.json", "metrics/results.json"):
        assert (second.folder / name).read_bytes() == (first_run.folder / name).read_bytes(), name


@pytest.mark.nightly
def test_the_experiment_is_repeated_with_other_seeds_components_and_photos_and_only_what_is_missing_runs(
    clone: Clone,
) -> None:
    clone.run(*SEED_STUDY, "--components", "3")
    rows = pd.read_csv(clone.folder / "metrics" / "seeds.csv")
    runs = set(zip(rows["seed"], rows["sample"], rows["components"], strict=True))
    assert runs == {(0, 0, 3), (0, 0, 6), (1, 0, 3), (1, 0, 6), (0, 1, 6)}
    committed = json.loads((clone.folder / "metrics" / "results.json").read_text())["accuracy"]
    own = rows[(rows["seed"] == 0) & (rows["sample"] == 0) & (rows["components"] == 6)].set_index("model")
    assert {model: own.loc[model, "test"] for model in own.index} == committed
    assert (clone.folder / "docs" / "seeds.png").read_bytes().startswith(b"\x89PNG")
    before = clone.dvc("queue", "status")
    assert before.count("Success") == 4
    clone.run(*SEED_STUDY)
    assert clone.dvc("queue", "status") == before
