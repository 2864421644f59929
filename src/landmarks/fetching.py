"""Photos from URLs that rot: every answer is a value, every photo a whole file."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import requests
import urllib3
from requests.adapters import HTTPAdapter

from landmarks import photos, work
from landmarks.errors import InputError
from landmarks.files import whole
from landmarks.world import SCHEME, WorldAdapter

CONNECTIONS = "LANDMARKS_CONNECTIONS"  # an environment variable: it can't change a result
GONE, REFUSED, TRANSIENT = {404, 410}, {401, 403, 451}, {429, 500, 502, 503, 504}
SAMPLE = ("id", "url", "landmark_id", "reserve")  # the columns of a sample
PATIENCE = 60.0  # the longest that a Retry-After is obeyed, seconds


@dataclass(frozen=True)
class Answer:
    """What became of one URL. ``status`` is ``ok`` or the reason why there is no photo."""

    id: str
    landmark_id: str
    status: str
    http: str = ""  # status code of the last answer
    url: str = ""  # the last address asked, after redirects
    asked: str = ""  # the address in the catalogue
    bytes: int = 0
    width: int = 0
    height: int = 0
    sha256: str = ""
    replaces: str = ""  # id of the photo whose place it took


@dataclass(frozen=True)
class Limits:
    """What one photo may cost."""

    attempts: int = 3
    seconds: float = 30.0
    megabytes: float = 32.0


def session() -> requests.Session:
    """A session with kept-alive connections that also speaks ``demo://``."""
    made = requests.Session()
    adapter = HTTPAdapter(pool_maxsize=connections())
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    made.mount(SCHEME, WorldAdapter())
    made.max_redirects = 5
    return made


def connections() -> int:
    """How many URLs are asked at once: ``LANDMARKS_CONNECTIONS``, else 8."""
    return work.environment(CONNECTIONS) or 8


def fetch(session: requests.Session, row: dict[str, str], folder: Path, limits: Limits) -> Answer:
    """Fetch one photo to ``folder/<id>.jpg``; whatever goes wrong out there comes back as the status.

    Raises ``OSError`` only for what goes wrong here: a full disk, a folder that can't be written.
    """
    answer = Answer(row["id"], row["landmark_id"], "unreachable", url=row["url"], asked=row["url"])
    for attempt in range(limits.attempts):
        try:
            with session.get(row["url"], stream=True, timeout=(10, limits.seconds)) as response:
                answer = dataclasses.replace(answer, http=str(response.status_code), url=str(response.url))
                if response.status_code in TRANSIENT:
                    answer = dataclasses.replace(
                        answer, status="busy" if response.status_code == 429 else "server error"
                    )
                    pause = _pause(response.headers.get("Retry-After"), attempt)
                elif response.status_code != 200:
                    code = response.status_code
                    status = "gone" if code in GONE else "refused" if code in REFUSED else "unexpected answer"
                    return dataclasses.replace(answer, status=status)
                else:
                    content = _body(response, limits)
                    width, height = photos.check(content)
                    with whole(folder / f"{row['id']}.jpg") as partial:
                        partial.write_bytes(content)
                    digest = hashlib.sha256(content).hexdigest()
                    return dataclasses.replace(
                        answer, status="ok", bytes=len(content), width=width, height=height, sha256=digest
                    )
        except InputError as error:
            return dataclasses.replace(answer, status=str(error))
        except (urllib3.exceptions.ProtocolError, urllib3.exceptions.DecodeError):
            answer, pause = dataclasses.replace(answer, status="truncated"), _pause(None, attempt)
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.TimeoutError):
            answer, pause = dataclasses.replace(answer, status="unreachable", http=""), _pause(None, attempt)
        except (requests.RequestException, ValueError):  # a bad URL, a redirect loop
            return dataclasses.replace(answer, status="bad url")
        if attempt + 1 < limits.attempts:
            time.sleep(pause)
    return answer


def _body(response: requests.Response, limits: Limits) -> bytes:
    content, end = bytearray(), time.monotonic() + limits.seconds
    while chunk := response.raw.read1(1 << 16, decode_content=True):  # what is there, so that a drip can't hold us
        content += chunk
        if len(content) > limits.megabytes * 1e6:
            raise InputError("too large")
        if time.monotonic() > end:
            raise InputError("too slow")
    promised = response.headers.get("Content-Length", "")
    if promised.isdecimal() and "Content-Encoding" not in response.headers and len(content) < int(promised):
        raise urllib3.exceptions.ProtocolError("fewer bytes than promised")
    return bytes(content)


def _pause(retry_after: str | None, attempt: int) -> float:
    """Seconds to wait before the next attempt: what the host asked for, else 1, 2, 4 …"""
    return min(float(retry_after), PATIENCE) if retry_after and retry_after.isdecimal() else 2.0**attempt


def collect(sample: pd.DataFrame, folder: Path, journal: Path, known: list[Answer], limits: Limits) -> list[Answer]:
    """Fetch the sample, replacing what expired from the reserve of the same landmark, in the reserve's order.

    The result is the first photos of each landmark that answer, whatever the order in which they do. ``journal``
    receives a line for every finished photo, so that a killed run is taken up where it stopped: remove it once the
    result is written. ``known`` are answers of an earlier run. Photos that are not part of the result are removed from ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    affordable = (a for a in (*known, *_replay(journal)) if a.status == "ok" and a.bytes <= limits.megabytes * 1e6)
    done = {(a.id, a.asked): a for a in affordable if _kept(folder, a)}
    answers: dict[str, Answer] = {}
    waiting: dict[str, list[dict[str, str]]] = {}
    for row in zip(*(sample[name] for name in SAMPLE), strict=True):
        waiting.setdefault(row[SAMPLE.index("landmark_id")], []).append(dict(zip(SAMPLE, row, strict=True)))
    wanted = {landmark: sum(row["reserve"] == "0" for row in rows) for landmark, rows in waiting.items()}
    missing = dict(wanted)
    journal.parent.mkdir(parents=True, exist_ok=True)
    with session() as web, journal.open("a") as log, concurrent.futures.ThreadPoolExecutor(connections()) as pool:
        log.write("\n")  # a killed run may have left half a line
        while batch := [row for k in waiting for row in waiting[k][: missing[k]]]:
            waiting = {k: rows[missing[k] :] for k, rows in waiting.items()}
            for answer in work.progress(_ask(pool, web, batch, folder, done, limits), len(batch), "download"):
                answers[answer.id] = answer
                log.write(json.dumps(dataclasses.asdict(answer)) + "\n")
                log.flush()
            fine = [a.landmark_id for a in answers.values() if a.status == "ok"]
            missing = {k: wanted[k] - fine.count(k) for k in wanted}
    result = _replacements(
        [answers[row] for row in sample["id"] if row in answers], set(sample["id"][sample["reserve"] == "0"])
    )
    kept = {f"{a.id}.jpg" for a in result if a.status == "ok"}
    for file in folder.iterdir():
        if file.name not in kept:
            file.unlink()
    return result


def _ask(
    pool: concurrent.futures.ThreadPoolExecutor, web: requests.Session, batch: list[dict[str, str]],
    folder: Path, done: dict[tuple[str, str], Answer], limits: Limits,
) -> Iterator[Answer]:  # fmt: skip
    rows = {(row["id"], row["url"]): row for row in batch}
    known = [
        dataclasses.replace(done[key], landmark_id=row["landmark_id"], replaces="")
        for key, row in rows.items()
        if key in done
    ]
    yield from known
    finished = {answer.id for answer in known}
    futures = [pool.submit(fetch, web, row, folder, limits) for row in batch if row["id"] not in finished]
    try:
        for future in concurrent.futures.as_completed(futures):
            yield future.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _replacements(answers: list[Answer], chosen: set[str]) -> list[Answer]:
    """Name, beside each photo from the reserve, the failed one whose place it took: the first with the first."""
    lost: dict[str, list[str]] = {}
    for answer in answers:
        if answer.status != "ok":
            lost.setdefault(answer.landmark_id, []).append(answer.id)
    result = []
    for answer in answers:
        if answer.status == "ok" and answer.id not in chosen:
            answer = dataclasses.replace(answer, replaces=lost[answer.landmark_id].pop(0))
        result.append(answer)
    return result


def _replay(journal: Path) -> Iterator[Answer]:
    if journal.exists():
        for line in journal.read_text().splitlines():
            try:
                yield Answer(**json.loads(line))
            except (ValueError, TypeError):  # the line that a killed run was writing
                continue


def _kept(folder: Path, answer: Answer) -> bool:
    """Is the photo of an earlier answer still there, to the byte?"""
    path = folder / f"{answer.id}.jpg"
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == answer.sha256
