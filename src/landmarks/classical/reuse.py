"""Descriptors that an earlier run made, so that a photo is described once.

Beside the file of the keypoints stage lies a note, ``.<name>.json``: which bytes of which photos it was made of, under which
settings, by which code. The note is no output. Without it, or if anything in it doesn't hold, every photo is described anew:
that costs time and changes no result. What it takes on disk is a line a photo.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from landmarks.classical import features_file, local_features
from landmarks.common import files
from landmarks.images import decoding


def identity(settings: local_features.Settings, script: Path) -> dict[str, Any]:
    """All that decides on the row of a photo: settings, the code that decodes and describes, ``script`` too, and OpenCV."""
    code = hashlib.sha256()
    for module in (local_features.__file__, decoding.__file__, features_file.__file__, script):
        code.update(Path(str(module)).read_bytes())
    return {**asdict(settings), "code": code.hexdigest(), "opencv": cv2.__version__, "numpy": np.__version__}


def earlier(described: Path, identity: dict[str, Any], sha256: dict[str, str]) -> dict[str, features_file.Row]:
    """The rows of an earlier run that still hold, by id.

    Args:
        described: its file; it counts only if it is, to the byte, the one that the note is of.
        identity: what the rows have to be made by.
        sha256: hash by id of the photos there are: a row counts only if its photo had the same bytes.
    """
    try:
        note = json.loads(_note(described).read_text())
        if note["identity"] != identity or note["sha256"] != files.sha256(described):
            return {}
        made = dict(note["photos"])
        found = features_file.read(described)
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # no note, or none of today's: every photo is described
    return {
        photo: features_file.Row(photo, *row)
        for photo, *row in zip(
            found.ids.tolist(), found.landmarks.tolist(), found.found.tolist(), found.points, found.values, strict=True
        )
        if photo in sha256 and made.get(photo) == sha256[photo]
    }


def note(described: Path, identity: dict[str, Any], sha256: dict[str, str]) -> None:
    """Note what ``described``, just written, was made of."""
    value = {"identity": identity, "sha256": files.sha256(described), "photos": sha256}
    files.write_json(_note(described), value)


def _note(described: Path) -> Path:
    return described.with_name(f".{described.stem}.json")
