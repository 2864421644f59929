"""What `dvc repro --dry` on a clean clone cannot see: exits with 1 and says what is out of step.

- A stage that depends on a folder which other stages fill (data/predictions) was run on exactly what they made. The folder is
  not there in a clean clone, so its hash is computed from their outputs in dvc.lock, as DVC computes it.
- versions.yaml, on which results depend, has the versions of the locks.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml


def stale_folders(stages: dict[str, dict[str, Any]]) -> Iterator[str]:
    """A line for each stage that was run on other files of a folder than the stages which fill it made."""
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", []) if "md5" in out}
    for name, stage in stages.items():
        for dep in stage.get("deps", []):
            prefix = dep["path"] + "/"
            inside = {path.removeprefix(prefix): md5 for path, md5 in outs.items() if path.startswith(prefix)}
            if any(md5.endswith(".dir") for md5 in inside.values()):
                continue  # of a folder inside it, the lock does not have the files
            if inside and dep.get("md5") != folder_md5(inside):
                yield f"{name} was not run on what {dep['path']} holds now ({', '.join(sorted(inside))})"


def folder_md5(files: dict[str, str]) -> str:
    """The hash by which DVC knows a folder: ``files`` has the MD5 of each, by its path in there."""
    listed = [{"md5": md5, "relpath": path} for path, md5 in sorted(files.items())]
    return hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest() + ".dir"


def other_versions(root: Path) -> Iterator[str]:
    """A line for each library whose version in versions.yaml is not that of a lock."""
    versions = yaml.safe_load((root / "versions.yaml").read_text())
    for lock in sorted(root.glob("requirements*.lock")):
        pins = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\n]+)", lock.read_text(), re.MULTILINE))
        for name, version in versions.items():
            if pins.get(name, version) != version:
                yield f"versions.yaml has {name} {version}, {lock.name} has {pins[name]}: run make lock"


if __name__ == "__main__":
    here = Path(__file__).parents[1]
    problems = [*stale_folders(yaml.safe_load((here / "dvc.lock").read_text())["stages"]), *other_versions(here)]
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems))
