"""What metrics/evaluation.json says here and at BASE, a branch, tag or commit, as a Markdown table.

`python .ci/evaluation.py models BASE`: the models whose test accuracy differs, those beyond the interval of BASE first.
`python .ci/evaluation.py counts BASE`: what the stages counted, where it differs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = "metrics/evaluation.json"


def at(base: str) -> dict[str, Any]:
    """The evaluation of ``base``, in this folder, which need not be the root of the repository; empty where it has none."""
    shown = subprocess.run(["git", "show", f"{base}:./{FILE}"], capture_output=True, text=True, check=False)
    return dict(json.loads(shown.stdout or "{}"))


def models(base: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    """A row for each model whose test accuracy differs or that is on one side only, those beyond the interval first."""
    before, after = ({name: model["test"] for name, model in side.get("models", {}).items()} for side in (base, here))
    rows = []
    for name in dict.fromkeys([*after, *before]):
        old, new = before.get(name), after.get(name)
        if old and new and old["top1"] != new["top1"]:
            interval = f"{old['top1_low']:.3f} – {old['top1_high']:.3f}"
            beyond = not old["top1_low"] <= new["top1"] <= old["top1_high"]
            cells = (f"{old['top1']:.3f}", f"{new['top1']:.3f}", interval, "**yes**" if beyond else "no")
            rows.append((not beyond, name, cells))
        elif new and not old:
            rows.append((True, name, ("–", f"{new['top1']:.3f}", "", "new")))
        elif old and not new:
            rows.append((True, name, (f"{old['top1']:.3f}", "–", "", "gone")))
    yield "| Model | Base | Here | 95 % interval of base | Beyond it |\n|---|---|---|---|---|"
    for _, name, cells in sorted(rows, key=lambda row: row[0]):
        yield f"| {name} | {' | '.join(cells)} |"


def counts(base: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    """A row for each count of a stage that differs."""
    before, after = (dict(_flat(side.get("data", {}))) for side in (base, here))
    yield "| Count | Base | Here |\n|---|---|---|"
    for name in dict.fromkeys([*after, *before]):
        if before.get(name) != after.get(name):
            yield f"| {name} | {before.get(name, '–')} | {after.get(name, '–')} |"


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


if __name__ == "__main__":
    table = {"models": models, "counts": counts}[sys.argv[1]]
    here = json.loads(Path(FILE).read_text()) if Path(FILE).is_file() else {}
    print("\n".join(table(at(sys.argv[2]), here)))
