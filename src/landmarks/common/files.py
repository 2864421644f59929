"""Outputs that are there whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from landmarks.common.errors import InputError


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; it takes the name of ``path`` once the block ends without an error.

    Whatever was called ``path`` before is replaced only then, so a crash leaves the old output or none, never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder, which starts empty."""
    partial = path.with_name(f".partial.{path.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def entries(journal: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a journal, a line each; none if there is no journal. Half a line, of a killed run, is skipped."""
    for line in journal.read_text().splitlines() if journal.exists() else ():
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def read_json(path: Path, stage: str) -> Any:
    """What ``write_json`` wrote. Raises ``InputError`` if it is missing or is something else: ``stage`` makes it."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: dvc repro {stage}") from None
    except ValueError as error:
        raise InputError(
            f"{path}: not as the stage {stage} writes it ({error}); run: dvc repro --force {stage}"
        ) from None


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` with stable keys, floats as given, one trailing newline."""
    with whole(path) as partial:
        partial.write_text(json.dumps(value, indent=2, sort_keys=False, ensure_ascii=False) + "\n")
