"""Which model is this? Compares files with dvc.lock, and names the git commit beside them."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from landmarks.common.errors import InputError

Hashes = dict[str, str]  # MD5 by path from the root


class LineageError(InputError):
    """A file that is not the output which dvc.lock records, or a dvc.lock that cannot be read."""


@dataclass(frozen=True)
class DvcLock:
    """The outputs in a dvc.lock, each with its hash and the hashes of what it was made from."""

    path: Path
    outs: Hashes
    deps: dict[str, Hashes]  # by output

    def check(self, files: Iterable[Path]) -> Hashes:
        """The hashes of ``files``, which are the recorded outputs.

        Raises ``LineageError`` if one is no output, or differs from the recorded one; ``InputError`` if one is missing.
        """
        hashes = {}
        for file in files:
            name = self._name(file)
            hashes[name] = md5(file)
            if name not in self.outs:
                raise LineageError(f"{file}: {self.path} records no such output; run: dvc repro")
            if hashes[name] != self.outs[name]:
                recorded = f"{self.path} records {self.outs[name]}"
                raise LineageError(f"{file}: its MD5 is {hashes[name]}, {recorded}; run: dvc checkout")
        return hashes

    def made_from(self, file: Path, source: Path) -> bool:
        """Whether the output ``file`` was made from the version of ``source`` that is in the lock now.

        Raises ``LineageError`` if one lies outside the folder of the lock.
        """
        name = self._name(source)
        return name in self.outs and self.deps.get(self._name(file), {}).get(name) == self.outs[name]

    def _name(self, file: Path) -> str:
        """The path from the root, by which the lock names ``file``. DVC may link a file into its cache: that link is not followed."""
        root = self.path.parent
        for place, top in (
            (Path(os.path.abspath(file)), Path(os.path.abspath(root))),  # noqa: PTH100 - resolve() follows links
            (file.parent.resolve() / file.name, root.resolve()),  # one of them is reached through a linked folder
        ):
            if place.is_relative_to(top):
                return place.relative_to(top).as_posix()
        raise LineageError(f"{file}: lies outside the folder of {self.path}; give a file inside it")


def read(path: Path) -> DvcLock:
    """Read a dvc.lock. Raises ``LineageError`` if it is missing or not in DVC's format."""
    try:
        stages = list(yaml.safe_load(path.read_text())["stages"].values())
        outs = [(stage, _hashes(stage.get("outs", ()))) for stage in stages]
        deps = {name: _hashes(stage.get("deps", ())) for stage, names in outs for name in names}
    except FileNotFoundError:
        raise LineageError(f"{path}: no such file; run: dvc repro") from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise LineageError(f"{path}: not in DVC's format; restore it: git checkout {path}") from None
    return DvcLock(path=path, outs={name: value for _, hashes in outs for name, value in hashes.items()}, deps=deps)


def _hashes(entries: Iterable[dict[str, Any]]) -> Hashes:
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}


def md5(file: Path) -> str:
    """The hash by which DVC identifies a file, or a folder with all its files. Raises ``InputError`` if it is missing."""
    if file.is_dir():
        inside = (path for path in file.rglob("*") if path.is_file())
        entries = [{"md5": md5(path), "relpath": path.relative_to(file).as_posix()} for path in inside]
        entries.sort(key=lambda entry: entry["relpath"])
        return hashlib.md5(json.dumps(entries).encode(), usedforsecurity=False).hexdigest() + ".dir"
    try:
        return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    except FileNotFoundError:
        raise InputError(f"{file}: no such file; run: dvc checkout, or dvc repro if it was never made") from None


def commit(folder: Path) -> str | None:
    """The git commit of ``folder``, followed by ``-dirty`` if tracked files are changed; None without git."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
