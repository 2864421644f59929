"""The experiment over several seeds, numbers of components and draws of photos: `make seeds`.

No stage: each run is a DVC experiment, the pipeline up to its scores, in DVC's own queue. What ran for the same commit is not run
again. Stop it when you like: the queue goes on, and the next time finds what it made.
"""

import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import dvc.api
import pandas as pd
import typer

import stage
from landmarks.common import progress
from landmarks.common.errors import InputError
from landmarks.dataset import tables
from landmarks.evaluation import seed_study as study
from landmarks.reporting import plots

Run = tuple[int, int, int]  # seed, sample, principal components
AXES = ("seed", "sample.seed", "pca.n")
MEASURED = "evaluate"  # the last stage that a run needs: what draws its results would be a third of its time
PATIENCE = 5  # seconds between two looks at the queue


def main(
    table: Annotated[Path, typer.Argument(help="CSV to write: model, seed, sample, components, validation, test")],
    figure: Annotated[Path, typer.Argument(help="PNG to write: mean and band by components and by model")],
    seeds: Annotated[int, typer.Option(min=2, help="As many runs: of seed 0, 1 and so on")] = 5,
    samples: Annotated[int, typer.Option(min=1, help="Draws of photos: of sample.seed as it is, 1 more and so on")] = 4,
    components: Annotated[list[int] | None, typer.Option(min=1, help="Another pca.n; may be repeated")] = None,
) -> None:
    """Queue the runs that are missing, wait for them, write the accuracies of all and compare the models, paired by seed.

    The seed, which deals the photos, is varied for every number of components; the photos that are drawn, for seed 0 and pca.n.
    Differences have 95 % intervals and p values of the corrected resampled t-test (Nadeau and Bengio, 2003), since the splits
    of the seeds overlap; p_holm is corrected for the number of models, too.
    """
    _require_commit([table, figure])
    params = dvc.api.params_show()
    n, title, shares = params["pca"]["n"], params["report"]["title"], params["split"]
    drawn = params["sample"]["seed"]
    wanted = sorted(itertools.product(range(seeds), [drawn], {n, *(components or [])}))
    wanted += [(0, other, n) for other in range(drawn + 1, drawn + samples)]
    runs = _experiments()
    missing = [run for run in wanted if run not in runs]
    for run in missing:
        _dvc("exp", "run", "--queue", MEASURED, *(f"-S={axis}={value}" for axis, value in zip(AXES, run, strict=True)))
    runs = _finished(wanted)
    rows = [(model, *run, *scores) for run in wanted for model, scores in _accuracies(runs[run]).items()]
    found = pd.DataFrame(rows, columns=list(study.COLUMNS))
    tables.write(table, found)
    plots.over_seeds(figure, found, n, title)
    print(study.summary(found, n).round(3).to_string())
    print(f"\nother photos, seed 0\n{study.summary(found, n, 'sample').round(3).to_string()}")
    ratio = shares["test"] / (1 - shares["test"] - shares["validation"])
    print(f"\n{study.paired(found, n, ratio).round(3).to_string()}")


def _require_commit(but: list[Path]) -> None:
    """Experiments are kept with the commit that they start from: they say nothing about changes made since."""
    command = ["git", "status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in but)]
    changed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if changed:
        raise InputError(f"{changed.splitlines()[0][3:]} is not committed; commit it, or put it aside: git stash -u")


def _experiments() -> dict[Run, dict[str, Any]]:
    """The last commit and the experiments that started from it, done or not, that differ from it in the axes only."""
    workspace, *rows = dvc.api.exp_show()
    blocks = dvc.api.params_show()
    # with a dot: the folder models, a dependency, has the name of a block
    fixed = [key for key in workspace if "." in key and key.split(".")[0] in blocks and key not in AXES]
    alike = [row for row in rows if all(row.get(key) == workspace[key] for key in fixed)]
    return {(int(row["seed"]), int(row["sample.seed"]), int(row["pca.n"])): row for row in alike}


def _finished(wanted: list[Run]) -> dict[Run, dict[str, Any]]:
    """Wait until the queue has run all that is wanted."""
    with progress.bar(len(wanted), "experiments", "run") as bar:
        while True:
            runs = _experiments()
            failed = [row["rev"] for run, row in runs.items() if run in wanted and row["State"] == "Failed"]
            for rev in failed:
                remedy = f"see dvc queue logs {rev}; then dvc queue remove {rev}, and again"
                raise InputError(f"experiment {rev} failed: {remedy}")
            done = [run for run in wanted if run in runs and runs[run]["State"] not in ("Queued", "Running")]
            bar.update(len(done) - bar.n)
            if len(done) == len(wanted):
                return runs
            _dvc("queue", "start")  # does nothing where a worker is at it
            time.sleep(PATIENCE)


def _accuracies(row: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Validation and test accuracy by model."""
    models = [key.removeprefix("accuracy.") for key in row if key.startswith("accuracy.")]
    return {model: (row[f"validation_accuracy.{model}"], row[f"accuracy.{model}"]) for model in models}


def _dvc(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"dvc {' '.join(arguments)}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")


if __name__ == "__main__":
    stage.run(main)
