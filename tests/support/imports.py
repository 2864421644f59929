"""What a script imports, read from its text: each file is parsed once."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

from support.scripts import ROOT


@functools.cache
def parsed(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


@functools.cache
def imports(path: Path) -> set[Path]:
    """The modules of src/ that a file names in its imports."""
    names: set[str] = set()
    for node in parsed(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    paths = {ROOT / "src" / f"{name.replace('.', '/')}.py" for name in names}
    return {path for path in paths if path.exists()}


def imported(script: Path) -> set[Path]:
    """The modules of src/ that a script imports, directly or not."""
    found: set[Path] = set()
    todo = {script}
    while todo:
        found |= todo
        todo = {path for known in todo for path in imports(known)} - found
    return found
