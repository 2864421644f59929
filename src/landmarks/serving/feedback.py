"""Answers to "was this right?": photos whose faces are obscured, as the rows of a catalogue for the next training."""

import csv
import fcntl
import hashlib
import threading
from pathlib import Path
from typing import IO

from landmarks.common.errors import InputError
from landmarks.common.files import whole
from landmarks.dataset import csv_rows
from landmarks.images import decoding, jpeg
from landmarks.privacy import gate
from landmarks.serving.messages import Answer

COLUMNS = ("id", "url", "landmark_id", "predicted")
PREFIX = "feedback_"  # of an id
LONG_SIDE = 1024  # pixels of what is kept: more than any network here sees
OTHER = "other_"  # before the id of a photo of none of the landmarks: a landmark of its own, to test rejection on


class FullError(InputError):
    """No further photo is kept."""


class FeedbackFolder:
    """At most ``most`` photos, ``photos/<id>.jpg``, and their rows in ``catalogue.csv``, which is written anew for each.

    A photo is in memory until its faces are obscured. A process that is killed leaves a photo without a row at worst, which the
    next one removes. One process at a time uses a folder.
    """

    def __init__(self, folder: Path, settings: gate.GateSettings, most: int) -> None:
        """Open the folder. Raises ``InputError`` if another process uses it or its catalogue is something else."""
        self._folder, self._settings, self._most = folder, settings, most
        self._photos, self._catalogue = folder / "photos", folder / "catalogue.csv"
        self._photos.mkdir(parents=True, exist_ok=True)
        self._lock, self._one = _locked(folder / ".lock"), threading.Lock()
        rows = csv_rows.read(self._catalogue, COLUMNS) if self._catalogue.exists() else ()
        self._rows = {row["id"]: {column: row[column] for column in COLUMNS} for row in rows}
        unfinished = {*folder.glob(".*.catalogue.csv"), *self._photos.glob(f".*.{PREFIX}*.jpg")}
        without_row = {path for path in self._photos.glob(f"{PREFIX}*.jpg") if path.stem not in self._rows}
        for path in unfinished | without_row:
            path.unlink()

    def keep(self, content: bytes, answer: Answer) -> str:
        """Obscure the faces in a photo and keep it; a photo that is there gets the new answer. Returns its id.

        Raises ``FullError``, ``StatusError`` if it is no photo, ``QuarantineError`` if a face is still found.
        """
        with self._one:
            id_ = f"{PREFIX}{hashlib.sha256(content).hexdigest()[:16]}"
            path = self._photos / f"{id_}.jpg"
            if id_ not in self._rows:
                if len(self._rows) >= self._most:
                    raise FullError(f"{self._most} photos are kept, no more are")
                upright = jpeg.keep(content, long_side=LONG_SIDE).content
                picture, _ = gate.obscured(upright, self._settings)
                decoding.write(path, picture, self._settings.quality)
            landmark = answer.landmark or OTHER + id_
            row = {"id": id_, "url": path.absolute().as_uri(), "landmark_id": landmark, "predicted": answer.predicted}
            self._write({**self._rows, id_: row})
            return id_

    def _write(self, rows: dict[str, dict[str, str]]) -> None:
        with whole(self._catalogue) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows.values())
        self._rows = rows


def _locked(path: Path) -> IO[bytes]:
    """An open file that no other process has locked, while this one lives."""
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise InputError(f"{path.parent}: another server keeps photos in it; give another folder") from None
    return file
