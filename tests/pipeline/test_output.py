"""What a person sees of a run: a result a stage, the models, where the report is; and every error."""

import re

import pytest
import yaml
from support import ROOT, Clone

from pipeline.conftest import printed_by

RESULT = re.compile(r"(\S+) +(\S.*?)  \((\d+) s\)")


@pytest.mark.slow
def test_a_run_prints_a_line_a_stage_then_the_models_then_where_the_report_is(first_run: Clone) -> None:
    results, _, table = printed_by(first_run).read_text().partition("\n\n")
    lines = [RESULT.fullmatch(line) for line in results.splitlines()]
    stages = yaml.safe_load((first_run.folder / "dvc.lock").read_text())["stages"]
    assert sorted(line[1] for line in lines if line) == sorted(stages)
    assert len(lines) == len(stages)
    accuracies = {line[1]: line[2] for line in lines if line and "@" in line[1]}
    assert re.fullmatch(r"top-1 [01]\.\d{3} on validation, [01]\.\d{3} on train", accuracies["cnn@plain"])
    params = yaml.safe_load((first_run.folder / "params.yaml").read_text())
    models = [*params["models"], *params["networks"], *params["ensembles"]]
    header, *rows, last = table.splitlines()
    assert header.split() == ["model", "test", "95", "%", "interval", "validation"]
    assert [row.split()[0] for row in rows] == models
    assert last == f"Open {first_run.folder}/plots/report.html"


@pytest.mark.slow
def test_a_run_that_fails_says_why_and_ends_with_an_error(clone: Clone) -> None:
    params = clone.folder / "params.yaml"
    params.write_text(params.read_text().replace("  n: 6 ", "  n: six "))
    with pytest.raises(
        AssertionError, match=r"preflight: pca\.n: 'six' is no whole number(.|\n)*failed to reproduce 'preflight'"
    ):
        clone.run(".ci/repro")
    params.write_text("seed: 0")
    with pytest.raises(AssertionError, match="ERROR"):
        clone.run(".ci/repro")


def test_stages_run_at_once_if_neither_needs_what_the_other_makes() -> None:
    order = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    script = (ROOT / ".ci" / "repro").read_text()
    pairs = re.findall(r"^  beside (.+) -- (.+)$", script, re.MULTILINE)
    assert len(pairs) == script.count("  beside ") == 2
    for pair in pairs:
        one, other = (names.split() for names in pair)
        assert all(names == [name for name in order if name in names] for names in (one, other))  # causes come first
        for makes, needs in ((one, other), (other, one)):
            made, wanted = paths(makes, "outs"), paths(needs, "deps") | paths(needs, "outs")
            assert not [
                (out, path)
                for out in made
                for path in wanted
                if f"{out}/".startswith(f"{path}/") or f"{path}/".startswith(f"{out}/")
            ]


def paths(names: list[str], kind: str) -> set[str]:
    """The deps or outs of all stages of these names, in the committed lock."""
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    return {entry["path"] for name, stage in stages.items() if name.split("@")[0] in names for entry in stage[kind]}
