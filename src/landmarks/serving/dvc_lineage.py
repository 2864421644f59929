"""Which model is this? Its files held against dvc.lock, and the commit that they lie beside."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from landmarks.common.errors import InputError

Hashes = dict[str, str]  # MD5 by path from the root
REMEDY = "for a model that DVC does not keep: --unchecked"


@dataclass(frozen=True)
class Lock:
    """What a dvc.lock says: of every output, its hash and those of what it was made from."""

    path: Path
    outs: Hashes
    deps: dict[str, Hashes]  # of each output

    def name(self, file: Path) -> str:
        """``file`` as the lock calls it: its path from the root. Raises ``InputError`` if it lies elsewhere."""
        try:
            return file.resolve().relative_to(self.path.parent.resolve()).as_posix()
        except ValueError:
            raise InputError(f"{file}: lies outside the folder of {self.path}; {REMEDY}") from None

    def check(self, files: Iterable[Path], otherwise: str = f", or {REMEDY}") -> Hashes:
        """The hashes of ``files``. Raises ``InputError`` if one is missing, is no output, or is not the one that was made.

        ``otherwise`` ends what that says of one that is another: a model may be taken unchecked, photos may not.
        """
        found = {}
        for file in files:
            name = self.name(file)
            found[name] = md5(file)
            if name not in self.outs:
                raise InputError(f"{file}: {self.path} knows no such output; {REMEDY}")
            if found[name] != self.outs[name]:
                raise InputError(
                    f"{file}: its MD5 is {found[name]}, {self.path} says {self.outs[name]}; run: dvc checkout{otherwise}"
                )
        return found

    def made_from(self, file: Path, source: Path) -> bool:
        """Was the output ``file`` made from ``source`` as it is in the lock now?"""
        name = self.name(source)
        return name in self.outs and self.deps.get(self.name(file), {}).get(name) == self.outs[name]


def read(path: Path) -> Lock:
    """Read a dvc.lock. Raises ``InputError`` if it is missing or is something else."""
    try:
        stages = list(yaml.safe_load(path.read_text())["stages"].values())
        outs = [(stage, _hashes(stage.get("outs", ()))) for stage in stages]
        deps = {name: _hashes(stage.get("deps", ())) for stage, made in outs for name in made}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: dvc repro, or {REMEDY}") from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: not as DVC writes it; restore it: git checkout {path}") from None
    return Lock(path, {name: value for _, made in outs for name, value in made.items()}, deps)


def _hashes(entries: Iterable[dict[str, Any]]) -> Hashes:
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}


def md5(file: Path) -> str:
    """The hash that DVC knows a file by, or a folder with all its files. Raises ``InputError`` if it is not there."""
    if file.is_dir():
        inside = (path for path in file.rglob("*") if path.is_file())
        listed = [{"md5": md5(path), "relpath": path.relative_to(file).as_posix()} for path in inside]
        listed.sort(key=lambda entry: entry["relpath"])
        return hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest() + ".dir"
    try:
        return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    except FileNotFoundError:
        raise InputError(f"{file}: no such file; run: dvc checkout, or dvc repro where DVC has none") from None


def commit(folder: Path) -> str | None:
    """The git commit of ``folder``, ``-dirty`` behind it where tracked files are changed; None where there is no git."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
