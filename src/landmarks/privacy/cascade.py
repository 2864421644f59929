"""The search for faces: a photo is looked at in several sizes and turns, and where there may be a face, closely.

Every detector looks at the sizes and turns that its settings name. ``cascade``, the default, has YuNet do that and then goes on:

1. The score of a place is the mean of the two looks that saw most in it: a face is seen in two sizes, a cloud in one. A place
   that one look found promising is cut out, enlarged or reduced to one size, and looked at alone, straight and tilted.
2. If a place scores ``confidence``, there are people, and every place in which any look suspected something is looked at alone.
   What scores ``recheck`` then, by half from the whole photo and by half alone, is a face.
3. A turn in which a face is sure is searched like the upright photo; so are all turns of a photo larger than ``LARGE``.

``strict`` has YuNet and CenterFace look at every size in four turns, and takes what either of them saw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from landmarks.privacy import boxes, face_detectors, redaction
from landmarks.privacy.boxes import Boxes
from landmarks.privacy.face_detectors import Picture

Detector = Literal["cascade", "strict", "centerface", "yunet", "ssd", "haar"]
NETWORKS: dict[Detector, tuple[face_detectors.Network, ...]] = {
    "cascade": ("yunet",), "strict": ("yunet", "centerface"),
    "centerface": ("centerface",), "yunet": ("yunet",), "ssd": ("ssd",), "haar": ("haar",),
}  # fmt: skip

# Chosen on 52 press photos (as they are, turned, dark, blurred, noisy, masked) and 150 photos of landmarks; sizes in pixels
LARGE = 1100  # long side above which a photo is looked at in tiles
TILE, SHARED = 640, 80  # side of a tile, and of what it shares with the next; a larger face is seen at a smaller size
SUSPECTED = 0.05  # lowest score with which a look suspects a face
SURE = 0.5  # score of a single look with which a turn is taken for the photo's own
# A face that fills this part of the long side scores at least this: it is seen without doubt, or it is none
BIG, CLEAR = 0.4, 0.5
PROMISING = 0.2  # score of a single look that is worth a close look before it is known whether there are people
SAME = 0.4  # boxes that share more than this part of their union are of one place
NEAR = 640  # long side, at most, in which an obscured face and its surroundings are looked at again
CLOSE, FACE = 96, 44  # side of the picture in a close look, and of the face in it
TILTS = (-35, 35)  # degrees, of close looks besides the straight one
TILTED = 0.1  # lowest score, of the suspicion or straight, that is worth tilted looks, up to ``SURE``
BATCH = 32  # close looks at once
ROTATIONS = (-1, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)  # by number of quarter turns


@dataclass(frozen=True)
class Search:
    """How faces are searched for.

    ``sizes`` are long sides in pixels, 0 the photo's own; a photo is never enlarged. ``turned`` is the size in which it is looked at
    after one, two and three quarter turns, 0: not. ``models`` is the folder of model files that did not come with the packages;
    ``cascade`` needs none.
    """

    detector: Detector = "cascade"
    models: str = ""
    sizes: Sequence[int] = (320, 1024, 0)
    turned: int = 320

    def digests(self) -> dict[str, str]:
        """Return the sha256 of the model files. Raises ``InputError`` if one is missing or altered."""
        files: dict[str, str] = {}
        for network in NETWORKS[self.detector]:
            files |= face_detectors.digests(network, self._folder())
        return files

    def _folder(self) -> str:
        return "" if self.detector == "cascade" else self.models

    def found(self, picture: Picture, confidence: float, recheck: float, big: float = BIG) -> list[redaction.Face]:
        """Return all that scores ``recheck``, searched closely if something scores ``confidence``; largest first.

        The photo is uint8 BGR (height, width, 3). What fills the part ``big`` of its long side has to score ``CLEAR``.
        Raises ``InputError`` if a model file is missing or altered.
        """
        photo = _Photo(picture)
        if self.detector == "cascade":
            found = self._in_two_stages(photo, confidence, big)
        else:
            looks = self._looks(photo, recheck, all_turns=self.detector == "strict")
            found = np.concatenate([look for _, look in looks])
        return redaction.merge([_face(row) for row in found if row[4] >= recheck])

    def faces_near(self, picture: Picture, faces: list[redaction.Face], lowest: float) -> list[redaction.Face]:
        """Return the faces that score ``lowest`` in or around any of ``faces``, as far beyond as they are large."""
        found: list[redaction.Face] = []
        for face in faces:
            left, top = max(face.x - face.w, 0), max(face.y - face.h, 0)
            part = _Photo(np.ascontiguousarray(picture[top : face.y + 2 * face.h, left : face.x + 2 * face.w]))
            size = min(part.longest, NEAR) if part.picture.size else 0  # a box may lie outside the photo
            for seen in self.found(part.of_size(size), lowest, lowest, big=1) if size else ():
                x, y, w, h = (round(value * part.longest / size) for value in (seen.x, seen.y, seen.w, seen.h))
                found.append(redaction.Face(x + left, y + top, w, h, seen.score))
        return redaction.merge(found)

    def _looks(self, photo: "_Photo", lowest: float, all_turns: bool) -> list[tuple[int, Boxes]]:
        """The number of quarter turns and what was found, of each look."""
        sizes = photo.sizes(self.sizes)
        done = [(0, self._look(photo, size, 0, lowest)) for size in sizes]
        first = photo.sizes([self.turned])[0] if self.turned else 0
        for turns in (1, 2, 3) if self.turned or all_turns else ():
            if self.turned:
                done.append((turns, self._look(photo, first, turns, lowest)))
            if all_turns or (self.detector == "cascade" and (photo.longest > LARGE or _surest(done[-1][1]) >= SURE)):
                done += [(turns, self._look(photo, size, turns, lowest)) for size in sizes if size != first]
        return done

    def _look(self, photo: "_Photo", size: int, turns: int, lowest: float) -> Boxes:
        view, scale = photo.view(size, turns)
        networks = [face_detectors.look(network, self._folder()) for network in NETWORKS[self.detector]]
        found = np.concatenate([_in_tiles(network, view, lowest) for network in networks])
        height, width = photo.picture.shape[:2]
        found[:, :4] /= scale
        return boxes.turn_back(found, turns, width, height)

    def _in_two_stages(self, photo: "_Photo", confidence: float, big: float) -> Boxes:
        """What the cascade finds; places are looked at closely only where one of them scores ``confidence``."""
        looks = [look for look in self._looks(photo, SUSPECTED, all_turns=False) if len(look[1])]
        sure = {turns for turns, look in looks if _surest(look) >= SURE}
        candidates = [np.column_stack([look, np.full(len(look), turns)]) for turns, look in looks
                      if turns == 0 or turns in sure or photo.longest <= LARGE]  # fmt: skip
        if not candidates:
            return boxes.NONE
        suspected = boxes.best(np.concatenate(candidates), face_detectors.OVERLAP)
        seen = np.stack(
            [np.where(boxes.unions(suspected, look) > SAME, look[:, 4], 0).max(axis=1) for _, look in looks]
        )
        close = np.zeros(len(suspected), np.float32)
        promising = seen.max(axis=0) >= PROMISING
        close[promising] = _close_looks(photo, suspected[promising])
        scores = np.sort(np.vstack([seen, close]), axis=0)[-2:].mean(axis=0)
        scores[(scores < CLEAR) & (suspected[:, 2:4].max(axis=1) >= big * photo.longest)] = 0
        if scores.max() >= confidence:
            close[~promising] = _close_looks(photo, suspected[~promising])
            scores = np.where(scores >= confidence, scores, (scores + close) / 2 * (scores > 0))
        return np.column_stack([suspected[:, :4], scores]).astype(np.float32)


class _Photo:
    """A photo in smaller sizes, each made once."""

    def __init__(self, picture: Picture) -> None:
        self.picture, self.longest = picture, max(picture.shape[:2])
        self.shrunk: dict[int, Picture] = {}

    def sizes(self, named: Sequence[int]) -> list[int]:
        """The long sides that the photo has, of those that are ``named``, ascending."""
        return sorted({min(size, self.longest) if size else self.longest for size in named})

    def of_size(self, size: int) -> Picture:
        """The photo with that long side."""
        if size == self.longest:
            return self.picture
        if size not in self.shrunk:
            sides = [max(round(side * size / self.longest), 1) for side in self.picture.shape[1::-1]]
            larger = self.picture
            while (
                min(larger.shape[1] // sides[0], larger.shape[0] // sides[1]) >= 2
            ):  # by half is a tenth of the time of by any factor
                larger = cv2.resize(larger, (larger.shape[1] // 2, larger.shape[0] // 2), interpolation=cv2.INTER_AREA)
            self.shrunk[size] = np.asarray(cv2.resize(larger, sides, interpolation=cv2.INTER_LINEAR), np.uint8)
        return self.shrunk[size]

    def view(self, size: int, turns: int) -> tuple[Picture, float]:
        """The photo with that long side after quarter turns against the clock, and how much smaller it is."""
        view = self.of_size(size)
        return np.asarray(cv2.rotate(view, ROTATIONS[turns]) if turns else view, np.uint8), size / self.longest


def _in_tiles(look: face_detectors.Look, view: Picture, lowest: float) -> Boxes:
    """One look at a picture of any size; at a large one part by part, so that memory is bounded."""
    if max(view.shape[:2]) <= LARGE:
        return look(view, lowest)
    found = []
    for top in _starts(view.shape[0]):
        for left in _starts(view.shape[1]):
            part = look(np.ascontiguousarray(view[top : top + TILE, left : left + TILE]), lowest)
            part[:, :2] += left, top
            found.append(part)
    return boxes.best(np.concatenate(found), face_detectors.OVERLAP)


def _starts(side: int) -> list[int]:
    """Where tiles begin that cover a side, evenly."""
    count = max(-(-(side - SHARED) // (TILE - SHARED)), 1)
    return [round(place * (side - TILE) / max(count - 1, 1)) for place in range(count)]


def _close_looks(photo: _Photo, suspected: Boxes) -> NDArray[np.float32]:
    """What YuNet scores each suspected place, (n, 6) with the turn last, cut out alone: the best of straight and tilted."""
    scores = _close(photo, suspected, 0)
    for tilt in TILTS:
        worth = (np.maximum(scores, suspected[:, 4]) >= TILTED) & (scores < SURE)
        scores[worth] = np.maximum(scores[worth], _close(photo, suspected[worth], tilt))
    return scores


def _close(photo: _Photo, suspected: Boxes, tilt: int) -> NDArray[np.float32]:
    scores = np.zeros(len(suspected), np.float32)
    for start in range(0, len(suspected), BATCH):
        views = np.stack([_cut_out(photo, place, tilt) for place in suspected[start : start + BATCH]])
        for _, score, box in face_detectors.yunet_cells(views, face_detectors.yunet_session()):
            centred = np.abs(box[:, :2] - CLOSE / 2).max(axis=1) < 0.35 * FACE
            size = box[:, 2:].max(axis=1)
            of_place = np.where(centred & (size > 0.5 * FACE) & (size < 2 * FACE), score, 0)
            part = scores[start : start + BATCH]
            np.maximum(part, of_place.reshape(len(part), -1).max(axis=1), out=part)
    return scores


def _cut_out(photo: _Photo, place: NDArray[np.float32], tilt: int) -> Picture:
    """The surroundings of a box, upright if the box is of a turned photo: uint8 BGR (96, 96, 3)."""
    x, y, w, h, _, turns = place.tolist()
    scale = FACE / max(w, h, 1)
    size = photo.longest
    while (
        size * 0.5 >= photo.longest * scale and size > 2 * CLOSE
    ):  # of a smaller photo, or every other pixel would be left out
        size //= 2
    shrunk = size / photo.longest
    centre = (x + w / 2) * shrunk, (y + h / 2) * shrunk
    matrix = cv2.getRotationMatrix2D(centre, 90 * turns + tilt, scale / shrunk)
    matrix[:, 2] += CLOSE / 2 - centre[0], CLOSE / 2 - centre[1]
    cut = cv2.warpAffine(
        photo.of_size(size), matrix, (CLOSE, CLOSE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cut, np.uint8)


def _surest(found: Boxes) -> float:
    return float(found[:, 4].max(initial=0))


def _face(row: NDArray[np.float32]) -> redaction.Face:
    left, top, right, bottom = (round(float(side)) for side in (row[0], row[1], row[0] + row[2], row[1] + row[3]))
    return redaction.Face(left, top, right - left, bottom - top, round(float(row[4]), 4))
