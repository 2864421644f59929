"""Atomic writes of files and folders, their hashes, JSON and YAML."""

import contextlib
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from landmarks.common.errors import InputError

MODELS = "LANDMARKS_MODELS"  # an environment variable: the folder of models that are fetched once


def models_folder() -> Path:
    """Return the folder of models that are fetched once, ``~/.cache/landmarks`` unless LANDMARKS_MODELS names another."""
    return Path(os.environ.get(MODELS) or Path.home() / ".cache" / "landmarks")


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it is renamed to ``path`` when the block ends without an error.

    A file that was there before is replaced only then: a crash leaves the old output or none, never a part of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{platform.node()[:16]}{os.getpid()}"  # several machines may write to a folder
    partial = path.with_name(f".{writer}.{path.name}")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new, empty folder beside ``path``, which replaces ``path`` as ``whole`` does for a file."""
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
    """Return the hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_json(path: Path, stage: str) -> Any:
    """Return what ``write_json`` wrote. Raises ``InputError`` if it is missing or no JSON; ``stage`` is named as the remedy."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: dvc repro {stage}") from None
    except ValueError as error:
        raise InputError(f"{path}: not as stage {stage} writes it ({error}); run: dvc repro --force {stage}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Return a YAML file of the repository. Raises ``InputError`` if it is missing, or is no mapping."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: git checkout {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a mapping of names to values; run: git checkout {path}")
    return values


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` atomically: keys in their order, floats as given, one trailing newline.

    What is not UTF-8 in the name of a file is written as an escape of JSON, so that ``read_json`` gives that name again.
    """
    text = json.dumps(value, indent=2, sort_keys=False, ensure_ascii=False) + "\n"
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def as_text(name: str) -> str:
    """The name of a file as text that can be written: what is not UTF-8 in it as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()
