"""Run the committed experiment again, in a clean clone, and print as Markdown what comes out otherwise: `make verify`.

Compared are the hash of every output in dvc.lock and every number in metrics/results.json. Exits with 1 if any differs; with
a tolerance, if a number differs by more than that: other processors round otherwise, and networks learn a little else.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import stages
import yaml

HERE = Path(__file__).parents[1]
METRICS = Path("metrics/results.json")
Numbers = dict[str, float]


def outputs(lock: stages.Stages) -> dict[str, str]:
    """The hash of each output in a dvc.lock, by path."""
    return {out["path"]: out["md5"] for stage in lock.values() for out in stage.get("outs", [])}


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Each number of a JSON value, with the keys that lead to it; what is text counts in the hashes alone."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from numbers(entry, f"{name}.{key}".lstrip("."))
    if isinstance(value, int | float):
        yield name, float(value)


def differences(before: Numbers, after: Numbers) -> dict[str, float]:
    """By name, how far two numbers lie apart, where they do; infinitely, where one side lacks it."""
    apart = {name: abs(after.get(name, math.inf) - before.get(name, math.inf)) for name in [*before, *after]}
    return {name: math.inf if math.isnan(far) else far for name, far in apart.items() if far}


def run(command: list[str], folder: Path) -> str:
    """What a command prints; what it says on stderr goes to ours. Raises ``CalledProcessError`` if it fails."""
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


def again(clone: Path) -> Path:
    """Clone the last commit, run the pipeline there with nothing of what ran before, and return its folder."""
    root = run(["git", "rev-parse", "--show-toplevel"], HERE).strip()
    run(["git", "clone", "--quiet", root, str(clone)], HERE)
    part = clone / run(["git", "rev-parse", "--show-prefix"], HERE).strip()
    (part / "dvc.lock").unlink()  # else what is in git would count as made
    with subprocess.Popen(["dvc", "repro"], cwd=part, stdout=sys.stderr) as running:
        if running.wait():
            raise SystemExit(f"verify: dvc repro failed in a clean clone, with exit code {running.returncode}")
    return part


def surroundings() -> Iterator[str]:
    """Lines of Markdown: what the experiment ran on."""
    versions = yaml.safe_load((HERE / "versions.yaml").read_text())
    yield f"- {processor()}; {platform.system()} {platform.release()}, {platform.machine()}; Python {platform.python_version()}"
    yield "- " + ", ".join(f"{name} {metadata.version(name)}" for name in versions)
    for name, version in versions.items():
        if (installed := metadata.version(name)) != version:
            yield f"- **{name} {installed} is installed, versions.yaml has {version}**"


def table(rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    """Markdown."""
    lines = [" | ".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row) for row in rows]
    yield from (
        [f"| {line} |" for line in ("Metric | committed | here | apart", "--- | --- | --- | ---", *lines)]
        if lines
        else []
    )


def read(folder: Path) -> tuple[dict[str, str], Numbers]:
    """The hashes of the outputs in its dvc.lock, and its metrics."""
    lock = stages.stages((folder / "dvc.lock").read_text())
    return outputs(lock), dict(numbers(json.loads((folder / METRICS).read_text())))


def processor() -> str:
    """Its name, and how many cores there are."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def main() -> None:
    """Run, print, and exit with 1 if the experiment did not come out as it is committed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tolerance", type=float, default=0, help="largest difference of a metric [0: and no other hash]"
    )
    tolerance: float = parser.parse_args().tolerance
    with tempfile.TemporaryDirectory() as folder:
        committed = Path(folder) / "committed"
        for path in (Path("dvc.lock"), METRICS):
            (committed / path).parent.mkdir(parents=True, exist_ok=True)
            (committed / path).write_text(run(["git", "show", f"HEAD:./{path}"], HERE))
        hashes, metrics = read(committed)
        new_hashes, new_metrics = read(again(Path(folder) / "landmarks"))
    other = [path for path in {**hashes, **new_hashes} if hashes.get(path) != new_hashes.get(path)]
    apart = differences(metrics, new_metrics)
    print(*surroundings(), sep="\n")
    print(f"- {len(other)} of {len(hashes)} outputs have another hash than in dvc.lock: {', '.join(other) or 'none'}")
    print(f"- {len(apart)} of {len(metrics)} metrics differ; {tolerance} is the most that is allowed\n")
    rows = [(name, metrics.get(name, ""), new_metrics.get(name, ""), apart[name]) for name in apart]
    print(*table(rows), sep="\n")
    if max(apart.values(), default=0) > tolerance or (other and not tolerance):
        raise SystemExit("verify: the experiment did not come out as it is committed")
    print("The experiment came out as it is committed.")


if __name__ == "__main__":
    main()
