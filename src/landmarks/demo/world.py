"""The synthetic demo dataset as a web host: its catalogue, and the answers of its ``demo://`` URLs."""

import hashlib
import io
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import requests
import urllib3
import yaml
from numpy.typing import NDArray
from requests.adapters import BaseAdapter

from landmarks.common.errors import InputError
from landmarks.demo import renderer

SCHEME = "demo://"
ADDRESS = re.compile(r"demo://(?P<seed>\d+)/(?P<kind>[a-z]+)/(?P<landmark>\d+)/(?P<view>\d+)(?:-(?P<copy>\d))?\.jpg")
RARE = 100  # landmark_id of the first rare landmark
UNSEEN = 1000  # from this landmark on, src/backbone.py trains: no catalogue contains them
EXPIRED = ("gone", "gone", "missing")
BROKEN = ("html", "half", "moved", "busy", "unavailable")
Row = tuple[str, str, str]  # id, url, landmark_id


def listed(path: Path) -> list[Row]:
    """Return the catalogue that a world file describes. Raises ``InputError`` as ``describe``."""
    if "elsewhere" in _content(path):
        return elsewhere(**describe(path, "elsewhere"))
    return rows(**describe(path))


def describe(path: Path, name: str = "world") -> dict[str, Any]:
    """Return a block of a world file: ``world``, the arguments of ``rows``, or ``elsewhere``, those of ``elsewhere``.

    Raises ``InputError`` if the file is missing or has another content.
    """
    try:
        block = dict(_content(path)[name])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a world file with a block {name!r}: {' '.join(str(error).split())}") from None
    made = {"world": rows, "elsewhere": elsewhere}[name]
    kinds = {name: kind for name, kind in get_type_hints(made).items() if name != "return"}
    if set(block) != set(kinds):
        raise InputError(
            f"{path}: the block {name!r} needs {', '.join(kinds)} and nothing else, has {', '.join(block)}"
        )
    for knob, value in block.items():
        if not isinstance(value, (int, float)) or (kinds[knob] is int and not isinstance(value, int)) or value < 0:
            raise InputError(f"{path}: {name}.{knob} is {value!r}; give a number not below 0")
    if RARE + block["rare"] > UNSEEN:
        most = f"give at most {UNSEEN - RARE}, the backbone was trained on the next"
        raise InputError(f"{path}: {name}.rare is {block['rare']}; {most}")
    return block


def _content(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; set catalogue.source or external.source in params.yaml") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not a world file: {' '.join(str(error).split())}") from None


def elsewhere(seed: int, landmarks: int, photos: int, rare: int, copies: int) -> list[Row]:
    """Return a catalogue of what other people upload: the same landmarks and rare ones, one photo each of these, all there.

    Of the first ``copies`` landmarks a photo is one of ``rows``, uploaded again.
    """
    table = []
    for landmark in range(1, landmarks + 1):
        for view in range(photos):
            copied = view == 0 and landmark <= copies
            place = view if copied else renderer.ELSEWHERE + view
            address = f"{SCHEME}{seed}/photo/{landmark}/{place}{'-2' * copied}.jpg"
            table.append((_id(seed, landmark, place, 2), address, str(landmark)))
    for landmark in range(RARE, RARE + rare):
        address = f"{SCHEME}{seed}/photo/{landmark}/{renderer.ELSEWHERE}.jpg"
        table.append((_id(seed, landmark, renderer.ELSEWHERE, 2), address, str(landmark)))
    return table


def rows(
    seed: int, landmarks: int, photos: int, rare: int, rare_photos: int,
    copies: float, nulls: float, expired: float, broken: float,
) -> list[Row]:  # fmt: skip
    """Return a catalogue: shuffled (id, url, landmark_id) rows with the defects of real ones: nulls, copies, dead URLs."""
    rng = np.random.default_rng([seed, 10**9 + 4])
    table = []

    def row(landmark: int, view: int, copy: int = 0) -> Row:
        kind = "photo"
        if (roll := rng.random()) < expired:
            kind = str(rng.choice(EXPIRED))
        elif roll < expired + broken:
            kind = str(rng.choice(BROKEN))
        again = f"-{copy}" if copy else ""
        return _id(seed, landmark, view, copy), f"{SCHEME}{seed}/{kind}/{landmark}/{view}{again}.jpg", str(landmark)

    for landmark, view in _views(rng, landmarks, photos, rare, rare_photos):
        table.append(row(landmark, view))
        if rng.random() < copies:
            table.append(row(landmark, view, copy=1))
    for index in range(int(len(table) * nulls)):
        lost = table[rng.integers(0, len(table))]
        table.append((_id(seed, -1, index, 0), *(("None", "None") if index % 2 else (lost[1], "None"))))
    return [table[index] for index in rng.permutation(len(table))]


def _views(
    rng: np.random.Generator, landmarks: int, photos: int, rare: int, rare_photos: int
) -> Iterator[tuple[int, int]]:
    for landmark in range(1, landmarks + 1):
        yield from ((landmark, view) for view in range(photos - landmark + 1))
    for landmark in range(RARE, RARE + rare):
        yield from ((landmark, view) for view in range(rng.integers(1, rare_photos + 1)))


def _id(*key: int) -> str:
    return hashlib.sha256(repr(key).encode()).hexdigest()[:16]


class WorldAdapter(BaseAdapter):
    """A ``requests`` adapter for ``demo://`` URLs: renders the photo, or answers as an unreliable host does."""

    def __init__(self) -> None:
        """Start without any requests: a busy host answers the second one."""
        super().__init__()
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Answer one request; any malformed address is a 404."""
        url = str(request.url)
        with self._lock:
            self._asked[url] += 1
            first = self._asked[url] == 1
        status, headers, body = _answer(url, first)
        response = requests.Response()
        response.status_code, response.url, response.request = status, url, request
        response.headers.update({"Content-Length": str(len(body)), **headers})
        response.raw = urllib3.HTTPResponse(io.BytesIO(body), headers, status, preload_content=False)
        return response

    def close(self) -> None:
        """Do nothing: no connection is open."""


def _answer(url: str, first: bool) -> tuple[int, dict[str, str], bytes]:
    found = ADDRESS.fullmatch(url)
    kind = found["kind"] if found else "missing"
    if found is None or kind == "missing":
        return 404, {"Content-Type": "text/plain"}, b"not found"
    if kind == "gone":
        return 410, {"Content-Type": "text/plain"}, b"gone"
    if kind == "html":
        return 200, {"Content-Type": "image/jpeg"}, b"<html><body>This photo is no longer available.</body></html>"
    if kind == "moved":
        return 302, {"Location": url.replace("/moved/", "/photo/")}, b""
    if kind == "busy" and first:
        return 429, {"Retry-After": "0"}, b"slow down"
    if kind == "unavailable" and first:
        return 503, {"Retry-After": "0"}, b"later"
    photo = renderer.photo(int(found["seed"]), int(found["landmark"]), int(found["view"]), int(found["copy"] or 0))
    return 200, {"Content-Type": "image/jpeg"}, photo[: len(photo) // 2] if kind == "half" else photo


def portraits(seed: int, landmarks: int, **_: Any) -> Iterator[NDArray[np.uint8]]:
    """Yield rendered pictures, uint8 BGR, many with people, that may be shown before their faces are obscured."""
    for landmark in range(1, landmarks + 1):
        for view in range(2):
            yield renderer.render(seed, landmark, np.random.default_rng([seed, landmark, view]))[..., ::-1].copy()
