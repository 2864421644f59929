"""The stages that differ between BASE and the working tree, as a Markdown table.

`python .ci/stages.py BASE`, a branch, tag or commit. Compared are the entries of dvc.lock: what ran, on what, and what came out.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

Stages = dict[str, dict[str, Any]]


def stages(lock: str) -> Stages:
    """The entries of a dvc.lock by name; none in an empty one."""
    return dict((yaml.safe_load(lock) or {}).get("stages", {}))


def lock_of(base: str) -> str:
    """Its dvc.lock, in this folder, which need not be the root of the repository; empty where it has none."""
    shown = subprocess.run(["git", "show", f"{base}:./dvc.lock"], capture_output=True, text=True, check=False)
    return shown.stdout


def facets(stage: dict[str, Any]) -> dict[str, Any]:
    """What a stage is compared by. Most parameters stand in its command; versions of libraries, and lists of models, do not."""
    deps = stage.get("deps", [])
    return {
        "command": " ".join(stage["cmd"].split()),
        "parameters": {name: values for name, values in stage.get("params", {}).items() if name != "versions.yaml"},
        "versions": stage.get("params", {}).get("versions.yaml"),
        "code": [dep for dep in deps if dep["path"].startswith("src/")],
        "inputs": [dep for dep in deps if not dep["path"].startswith("src/")],
        "outputs": stage.get("outs", []),
    }


def differences(before: Stages, after: Stages) -> dict[str, str]:
    """By stage, in the order of the lock: ``new``, ``gone``, or the facets that differ."""
    found = {}
    for name in [*after, *(name for name in before if name not in after)]:
        if name not in before or name not in after:
            found[name] = "new" if name in after else "gone"
        elif old_new := [facet for facet, value in facets(after[name]).items() if value != facets(before[name])[facet]]:
            found[name] = ", ".join(old_new)
    return found


if __name__ == "__main__":
    print("| Stage | What differs |\n|---|---|")
    for name, what in differences(stages(lock_of(sys.argv[1])), stages(Path("dvc.lock").read_text())).items():
        print(f"| {name} | {what} |")
