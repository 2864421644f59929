"""Experiments as people review and share them: pull requests, retraining, remotes, the commands of docs/experiments.md."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ROOT, Clone

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
SCRIPTS = [path for path in sorted((ROOT / ".ci").iterdir()) if not path.suffix]
TOOLS = Path(sys.executable).parent
CARDS = ("docs/croissant.json", "docs/dataset_card.md", "docs/model_card.md")


def jobs(workflow: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / ".github" / "workflows" / f"{workflow}.yml").read_text())["jobs"])


def shell_steps(path: Path) -> list[dict[str, Any]]:
    described = yaml.safe_load(path.read_text())
    parts = [described["runs"]] if "runs" in described else described["jobs"].values()
    return [step for part in parts for step in part["steps"] if "run" in step]


def check(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: path.stem)
def test_a_workflow_is_one_by_the_schema_of_github(path: Path, tmp_path: Path) -> None:
    kind = "vendor.github-workflows" if path in WORKFLOWS else "vendor.github-actions"
    schema = (TOOLS / "check-jsonschema", "--builtin-schema", kind)
    done = check(*schema, path)
    assert done.returncode == 0, done.stdout
    (tmp_path / "misspelt.yml").write_text(path.read_text().replace("  steps:", "  step:"))
    assert check(*schema, tmp_path / "misspelt.yml").returncode == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CITATION.cff", "citation-file-format"),
        (".github/dependabot.yml", "dependabot"),
        (".github/ISSUE_TEMPLATE/bug.yml", "github-issue-forms"),
    ],
)
def test_what_others_read_is_valid_by_their_schema(name: str, kind: str) -> None:
    done = check(TOOLS / "check-jsonschema", "--builtin-schema", f"vendor.{kind}", ROOT / name)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: path.stem)
def test_the_shell_steps_of_a_workflow_pass_shellcheck_and_hold_nothing_that_others_can_fill(
    path: Path, tmp_path: Path
) -> None:
    for number, step in enumerate(shell_steps(path)):
        assert "${{" not in step["run"], "an expression becomes part of the program: hand it over in env"
        (tmp_path / f"{number}.sh").write_text(step["run"])
    done = check(TOOLS / "shellcheck", "--shell=bash", *sorted(tmp_path.glob("*.sh")))
    assert done.returncode == 0, done.stdout


def test_the_scripts_of_ci_pass_shellcheck() -> None:
    done = check(TOOLS / "shellcheck", *SCRIPTS)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_unless_a_job_says_otherwise_and_ends(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 300 for job in jobs(path.stem).values())
    for action in re.findall(r"uses: (\S+)", path.read_text()):
        assert re.fullmatch(r"\./\.github/actions/\w+|actions/[\w/-]+@v\d+", action)


def test_what_comes_from_a_pull_request_runs_without_a_token_that_writes() -> None:
    writing = [job for job in jobs("experiment").values() if "permissions" in job]
    assert [job["permissions"] for job in writing] == [{"pull-requests": "write"}]
    assert not any("checkout" in step.get("uses", "") for job in writing for step in job["steps"])
    assert all("head.repo.full_name == github.repository" in job["if"] for job in writing)


@pytest.mark.slow
def test_push_and_pull_bring_back_everything_but_the_photos_as_they_were_downloaded(
    first_run: Clone, home: Path, second: Clone
) -> None:
    second.dvc("remote", "add", "--local", "--default", "store", str(home / "data"))
    second.dvc("pull", "--allow-missing")
    lock = yaml.safe_load((first_run.folder / "dvc.lock").read_text())["stages"].values()
    outs = {out["path"] for stage in lock for out in stage["outs"]}
    assert {out for out in outs if not (second.folder / out).exists()} == {"data/images"}
    for path in (first_run.folder / "data" / "anonymous").iterdir():
        assert (second.folder / "data" / "anonymous" / path.name).read_bytes() == path.read_bytes()
    stored = {path.read_bytes() for path in (home / "data").rglob("*") if path.is_file()}
    anonymous = {path.read_bytes() for path in (first_run.folder / "data" / "anonymous").iterdir()}
    originals = {path.read_bytes() for path in (first_run.folder / "data" / "images").iterdir()} - anonymous
    assert originals
    assert not originals & stored


def run_steps(clone: Clone, job: dict[str, Any], **environment: str) -> dict[str, str]:
    """What the named shell steps of a job print, run as GitHub does for a pull request to main from ``clone``'s branch."""
    said = {}
    for step in job["steps"]:
        if "run" in step and step.get("if", "") != "github.event_name == 'push'":
            env = {name: value.replace("${{ github.base_ref }}", "main") for name, value in step.get("env", {}).items()}
            said[step["name"]] = clone.run("bash", "-e", "-c", step["run"], **env, **environment)
    return said


@pytest.mark.slow
def test_a_pull_request_shows_parameters_metrics_stages_and_the_plots_of_both_sides(
    second: Clone, home: Path, tmp_path: Path
) -> None:
    second.git("switch", "-q", "change")
    summary = tmp_path / "summary.md"
    said = run_steps(second, jobs("experiment")["compare"], HOME=str(home), GITHUB_STEP_SUMMARY=str(summary))
    assert re.findall(r"Running stage '(.+)'", said["Reproduce"])[:2] == ["baseline@bayes", "baseline@bayes_orb"]
    text = (second.folder / "dvc_plots" / "comparison.md").read_text()
    assert summary.read_text() == text
    assert re.search(r"^\| params.yaml +\| pca.n +\| 6 +\| 4 +\|$", text, re.MULTILINE)
    assert re.search(r"^\| \w+\.bayes(_orb)? .*\|$", text, re.MULTILINE)
    assert text.index("Models whose test accuracy differs") < text.index("pca.n") < text.index("<details>")
    assert "| baseline@bayes | parameters, outputs |\n| baseline@bayes_orb | parameters, outputs |\n" in text
    assert "| evaluate | inputs, outputs |\n" in text
    assert "missing" not in text
    assert (second.folder / "dvc_plots" / "index.html").exists()
    drawn = {path.name for path in (second.folder / "dvc_plots" / "static").iterdir()}
    assert {"origin_main_plots_accuracy.png", "workspace_plots_accuracy.png"} <= drawn


@pytest.mark.slow
def test_without_the_data_the_numbers_are_compared_and_the_plots_said_to_be_missing(second: Clone) -> None:
    second.git("switch", "-q", "change")
    text = second.run(".ci/compare", "origin/main")
    assert "pca.n" in text
    assert "| evaluate | inputs, outputs |" in text
    assert "Some are missing of: workspace, origin/main" in text


def test_a_base_that_does_not_exist_is_an_error_of_one_line() -> None:
    done = check(ROOT / ".ci" / "compare", "nosuch")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "nosuch" in done.stderr


def test_the_comparison_leads_with_the_models_that_changed_beyond_their_interval(tmp_path: Path) -> None:
    """Also where the repository's root is further up, as in a monorepo."""
    top, folder = Clone(tmp_path), tmp_path / "a folder" / "landmarks"
    (folder / "metrics").mkdir(parents=True)
    top.git("init", "-q")

    def write(rows: int, **accuracies: float) -> None:
        score = {name: {"top1": top, "top1_low": top - 0.1, "top1_high": top + 0.1} for name, top in accuracies.items()}
        evaluation = {
            "models": {name: {"test": test} for name, test in score.items()},
            "data": {"clean": {"rows": rows}},
        }
        (folder / "metrics" / "evaluation.json").write_text(json.dumps(evaluation))

    write(5, within=0.5, beyond=0.5, same=0.5, gone=0.5)
    top.commit("before")
    write(6, within=0.55, beyond=0.25, same=0.5, new=0.75)
    here = Clone(folder)
    models, counts = (
        here.run("python", str(ROOT / ".ci" / "evaluation.py"), table, "HEAD").splitlines()[2:]
        for table in ("models", "counts")
    )
    assert models == [
        "| beyond | 0.500 | 0.250 | 0.400 – 0.600 | **yes** |",
        "| within | 0.500 | 0.550 | 0.400 – 0.600 | no |",
        "| new | – | 0.750 |  | new |",
        "| gone | 0.500 | – |  | gone |",
    ]
    assert counts == ["| clean.rows | 5 | 6 |"]


def test_a_stage_is_new_or_gone_or_differs_in_its_command_code_inputs_or_outputs(tmp_path: Path) -> None:
    def entry(n: int, code: str, photos: str) -> dict[str, Any]:
        deps = [{"path": "src/split.py", "md5": code}, {"path": "data/images", "md5": photos}]
        return {
            "cmd": f"python src/split.py --n {n}",
            "deps": deps,
            "outs": [{"path": "data/split.csv", "md5": photos}],
        }

    def lock(**stages: dict[str, Any]) -> None:
        (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))

    here = Clone(tmp_path)
    here.git("init", "-q")
    lock(gone=entry(1, "a", "a"), same=entry(1, "a", "a"), code=entry(1, "a", "a"), knob=entry(1, "a", "a"))
    here.commit("before")
    lock(same=entry(1, "a", "a"), code=entry(1, "b", "a"), knob=entry(2, "a", "b"), new=entry(1, "a", "a"))
    table = here.run("python", str(ROOT / ".ci" / "stages.py"), "HEAD").splitlines()[2:]
    assert table == ["| code | code |", "| knob | command, inputs, outputs |", "| new | new |", "| gone | gone |"]


@pytest.mark.slow
@pytest.mark.nightly  # two runs of the small pipeline
def test_new_rows_become_a_branch_with_their_comparison_and_no_new_rows_nothing(second: Clone, home: Path) -> None:
    second.run(".ci/fetch", str(home / "data"))
    rows = second.folder / "rows.csv"
    shutil.copy(second.folder / "data" / "catalogue.csv", rows)
    params = second.folder / "params.yaml"
    params.write_text(
        params.read_text()
        .replace("data/demo/world.yaml", "rows.csv", 1)
        .replace("data/demo/elsewhere.yaml", "data/external.csv")
    )
    second.dvc("repro", "--allow-missing")
    second.commit("rows of our own")
    assert "nothing new" in second.run(".ci/retrain")
    with rows.open("a") as file:
        file.write("new,demo://7/photo/1/1.jpg,None\n")  # tells no landmark, so no network has to learn from it
    second.run(".ci/retrain")
    assert second.git("branch", "--show-current") == "retrain\n"
    changed = set(second.git("diff", "--name-only", "main", "retrain").split())
    rewritten = {"dvc.lock", "metrics/evaluation.json"}
    assert rewritten <= changed <= {*rewritten, "metrics/results.json", *CARDS}
    text = (second.folder / "dvc_plots" / "comparison.md").read_text()
    found = re.search(r"^\| catalogue\.rows \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    assert found
    assert int(found[2]) == int(found[1]) + 1
    assert "| catalogue | inputs, outputs |" in text


@pytest.mark.nightly
def test_the_commands_of_the_documentation_do_what_stands_there(clone: Clone, second: Clone) -> None:
    second.dvc("cache", "dir", "--local", str(clone.folder / ".dvc" / "cache"))
    second.dvc("checkout", "-q")
    page = (ROOT / "docs" / "experiments.md").read_text()
    blocks = re.findall(r"^```sh\n(.+?)^```$", page, re.MULTILINE | re.DOTALL)
    one, several, *_ = [second.run("bash", "-e", "-c", block) for block in blocks]
    assert re.findall(r"Running stage '(.+)'", one)[:2] == ["baseline@bayes", "baseline@bayes_orb"]
    assert re.search(r"pca\.n +6 +15", one)
    assert re.search(r"\w+\.bayes ", one)
    assert "accuracy.plain" not in one
    assert several.count("Reproducing experiment") == 2
    assert len(re.findall(r"[0-9a-f]{7} \[[\w-]+\]", several)) == 3
    assert second.git("log", "--format=%s", "-1") == "15 components\n"
    assert second.git("tag").split() == ["landmarks#prod#1", "landmarks@v1.0.0"]
    assert any((second.folder.parent / "store").iterdir())
    for path in (second.folder / "models" / "export").glob("*.tflite"):
        assert (second.folder.parent / "model" / path.name).read_bytes() == path.read_bytes()


def test_the_model_is_an_artifact_that_the_pipeline_makes() -> None:
    described = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    artifact = described["artifacts"]["landmarks"]
    assert artifact["path"] in described["stages"]["export"]["outs"]
    assert artifact["type"] == "model"
    assert artifact["desc"]
    assert artifact["labels"]
