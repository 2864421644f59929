"""Photos from URLs that rot: every answer is a value, every photo a whole file, every host treated with manners."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import requests

from landmarks.common import parallel, progress
from landmarks.common.errors import InputError
from landmarks.common.files import entries, sha256, whole
from landmarks.demo.world import SCHEME, WorldAdapter
from landmarks.download import politeness, safe_http, storage
from landmarks.images import decoding, jpeg

CONNECTIONS, RETRY = "LANDMARKS_CONNECTIONS", "LANDMARKS_RETRY"  # of one run: nothing that belongs to the experiment
VERSION = "0.1"
SAMPLE = ("id", "url", "landmark_id", "reserve")  # the columns of a sample
GONE, REFUSED = (404, 410), (401, 403, 451)
WEB = ("http", "https", "demo")  # schemes that answer with a status code
NOTHING = safe_http.Reply(0, requests.structures.CaseInsensitiveDict())  # instead of an answer
HOPE = 4  # times the attempts of one photo that a host, once there, may be unreachable on end
AGAIN = ("busy", "server error", "unreachable", "truncated")  # what may pass: asked again while there are attempts
UNKNOWN = "unknown"
EXPIRED = ("gone", "unreachable", "unexpected answer", "html", "mislabelled", "not a photo")  # an archive may have it


@dataclass(frozen=True)
class Answer:
    """What became of one photo. ``status`` is ``ok`` or the reason why there is none. Sizes in pixels, upright."""

    id: str
    landmark_id: str
    status: str
    http: str = ""  # status code of the last answer
    url: str = ""  # the last address asked, after redirects
    source: str = ""  # origin, the host of the archive that had it, or tar
    asked: str = ""  # the address in the catalogue
    width_asked: int = 0  # of a thumbnail, 0: the photo as it is
    format: str = ""  # of what came
    bytes: int = 0  # that came
    original_width: int = 0
    original_height: int = 0
    width: int = 0  # as it is kept
    height: int = 0
    sha256: str = ""  # of the kept file
    same_as: str = ""  # id of an earlier photo with the same bytes: a placeholder, or a photo listed twice
    replaces: str = ""  # id of the photo whose place it took
    seconds: float = 0.0  # that requests took; the made world's clock stands still


@dataclass(frozen=True)
class Settings:
    """What is asked, how, and what is kept. ``python src/download.py --help`` explains each."""

    contact: str = ""
    schemes: tuple[str, ...] = ("http", "https", "demo")
    loopback: bool = False
    robots: bool = True
    per_host: int = 4
    kilobytes_per_second: float = 0.0
    attempts: int = 3
    seconds: float = 30.0
    redirects: int = 5
    megabytes: float = 32.0
    megapixels: float = 80.0
    long_side: int = 0
    thumbnail: int = 1280
    archives: tuple[str, ...] = ()
    tars: tuple[str, ...] = ()

    def candidates(self, url: str) -> list[tuple[str, str, int]]:
        """Where a photo may be had: source, address, width asked; the next is tried where one has expired."""
        thumbnail, width = politeness.thumbnail(url, self.thumbnail)
        smaller = [("origin", thumbnail, width)] if thumbnail else []
        archives = [(politeness.host_of(where), where.replace("{url}", url), 0) for where in self.archives]
        return [*smaller, ("origin", url, 0), *(archives if storage.scheme_of(url) in ("http", "https") else ())]


@dataclass
class Task:
    """A photo on its way."""

    row: dict[str, str]
    candidates: list[tuple[str, str, int]]
    url: str
    attempt: int = 0
    seen: set[str] = field(default_factory=set)  # where redirects led so far
    spent: float = 0.0  # seconds of this attempt
    seconds: float = 0.0  # of all
    first: Answer | None = None  # what the first candidate came to


@dataclass(frozen=True)
class Wait:
    """Seconds until anybody asks the host again, and until this task is taken up again."""

    host: float = 0.0
    task: float = 0.0


class Fetcher:
    """Asks for photos, one request at a time and a thread, and keeps what is one."""

    def __init__(self, folder: Path, journal: Path, settings: Settings, tars: storage.Tars) -> None:
        """Photos go to ``folder/<id>.jpg``; every finished one gets a line in ``journal`` at once."""
        self.folder, self.settings, self.tars = folder, settings, tars
        self.connections = parallel.environment(CONNECTIONS) or 16
        manners = politeness.Manners(settings.per_host, settings.kilobytes_per_second, settings.robots)
        self.queue: politeness.Queue[Task] = politeness.Queue(manners, self.connections)
        self.answers: queue.SimpleQueue[Answer | BaseException] = queue.SimpleQueue()
        self._session = safe_http.session(user_agent(settings.contact), self.connections, settings.loopback)
        self._session.mount(SCHEME, WorldAdapter())
        self._log = journal.open("ab", buffering=0)
        self._log_lock = threading.Lock()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(self.connections)]

    def __enter__(self) -> Fetcher:
        """Start asking."""
        self.note({"settings": dataclasses.asdict(self.settings)}, b"\n")  # a killed run may have left half a line
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; who waits for a slow host is not waited for."""
        self.queue.close()

    def add(self, row: dict[str, str]) -> None:
        """Ask for a photo; its ``Answer`` comes through ``answers``."""
        if row["id"] in self.tars:
            candidates = [("tar", "tar://", 0), *self.settings.candidates(row["url"])]
        else:
            candidates = self.settings.candidates(row["url"])
        self.queue.add(candidates[0][1], Task(row, candidates, candidates[0][1]))

    def note(self, value: dict[str, Any], before: bytes = b"") -> None:
        """Write a line to the journal, in one piece."""
        with self._log_lock:
            self._log.write(before + json.dumps(value).encode() + b"\n")

    def _serve(self) -> None:
        while taken := self.queue.take():
            host, task = taken
            try:
                answer, wait = self._ask(host, task)
                if answer:
                    self.note(vars(answer))
                self.queue.done(host, wait.host)
                if answer:
                    self.answers.put(answer)
                else:  # only now: nobody else may hold the task while we do
                    self.queue.add(task.url, task, first=True, delay=wait.task)
            except BaseException as error:  # a full disk, a defect: the main thread's to tell
                self.answers.put(error)
                return

    def _ask(self, host: politeness.Host[Task], task: Task) -> tuple[Answer | None, Wait]:
        """One request. Returns the answer, or None if the task goes back to the queue."""
        begin, reply, wait = time.monotonic(), NOTHING, Wait()
        try:
            if host.left_alone:
                raise safe_http.FetchError(host.left_alone)
            reply = self._reply(host, task)
            status, wait = self._judge(reply), Wait(host.owes(len(reply.content)))
            host.failures = 0 if host.open and status != "busy" else host.failures
        except safe_http.FetchError as failed:
            status = str(failed)
        took = 0.0 if task.url.startswith(SCHEME) else time.monotonic() - begin
        task.spent, task.seconds = task.spent + took, task.seconds + took
        if status == "moved":
            status = self._follow(task, reply.location)
            if not status:
                return None, wait
        if status == "ok":
            try:
                return self._keep(task, reply), wait
            except InputError as error:
                status = str(error)
        elif status in AGAIN and not host.left_alone:
            wait = self._put_off(host, task, status, reply)
            if task.attempt < self.settings.attempts and not host.left_alone:
                return None, wait
        return self._end(task, status, reply), wait

    def _put_off(self, host: politeness.Host[Task], task: Task, status: str, reply: safe_http.Reply) -> Wait:
        """Something that may pass: how long the task waits, or the whole host, if it isn't left alone from now on."""
        task.attempt, task.spent = task.attempt + 1, 0.0
        pause = politeness.pause(reply.headers.get("Retry-After", ""), task.attempt - 1)
        for_all = status in ("busy", "unreachable") or "Retry-After" in reply.headers
        if status in ("busy", "unreachable") or not host.open:
            host.failures += 1
        hope = self.settings.attempts * (HOPE if host.open else 1)
        if host.failures >= hope or (for_all and pause > politeness.PATIENCE):
            host.left_alone = status
        if host.left_alone:
            return Wait()
        return Wait(host=pause) if for_all else Wait(task=pause)

    def _reply(self, host: politeness.Host[Task], task: Task) -> safe_http.Reply:
        settings, scheme = self.settings, storage.scheme_of(task.url)
        if task.candidates[0][0] == "tar":
            task.url, content = self.tars.read(task.row["id"], settings.megabytes)
            return safe_http.Reply(200, NOTHING.headers, content)
        if scheme not in settings.schemes:
            raise safe_http.FetchError("bad url" if scheme == "bad" else "scheme not allowed")
        if scheme not in WEB:
            content = storage.read(task.url, settings.megabytes)
            host.open = True
            return safe_http.Reply(200, NOTHING.headers, content)
        if settings.robots and scheme != "demo":
            trouble = self._robots(host, task.url)
            if trouble:
                return trouble
        left = settings.seconds - task.spent
        if left <= 0:
            raise safe_http.FetchError("too slow")
        reply = safe_http.get(self._session, task.url, left, settings.megabytes)
        host.open = True
        return reply

    def _robots(self, host: politeness.Host[Task], url: str) -> safe_http.Reply | None:
        """Read the host's robots.txt, once. Returns its answer if the host is in trouble. Raises ``FetchError``: ``disallowed``."""
        scheme = storage.scheme_of(url)
        with host.reading:
            if scheme not in host.rules and not host.left_alone:
                reply, address = NOTHING, safe_http.join(url, "/robots.txt")
                end = time.monotonic() + self.settings.seconds
                for _ in range(self.settings.redirects + 1):
                    try:
                        left = max(end - time.monotonic(), 0.001)
                        reply = safe_http.get(self._session, address, left, self.settings.megabytes)
                        address = safe_http.join(address, reply.location)
                    except safe_http.FetchError as failed:
                        host.left_alone = "" if str(failed) in AGAIN else str(failed)
                        raise
                    if not reply.location:
                        break
                if reply.code == 429 or reply.code >= 500:
                    return reply
                host.learn(scheme, reply.code, reply.content)
        if host.left_alone or not host.rules[scheme].can_fetch(url, politeness.ROBOT):
            raise safe_http.FetchError(host.left_alone or "disallowed")
        return None

    @staticmethod
    def _judge(reply: safe_http.Reply) -> str:
        """The status of an answer, as far as its head tells; ``moved`` for a redirect."""
        code = reply.code
        if reply.location:
            return "moved"
        if code == 200:
            return "opted out" if politeness.opts_out(reply.headers.get("X-Robots-Tag", "")) else "ok"
        if code == 429:
            return "busy"
        if code >= 500:
            return "server error"
        return "gone" if code in GONE else "refused" if code in REFUSED else "unexpected answer"

    def _follow(self, task: Task, location: str) -> str:
        """Point a task to where a redirect leads, to wait its turn there. Returns a status if it may not go."""
        task.seen.add(task.url)
        if len(task.seen) > self.settings.redirects:
            return "too many redirects"
        try:
            task.url = safe_http.join(task.url, location)
        except safe_http.FetchError as failed:
            return str(failed)
        if task.url in task.seen:
            return "redirect loop"
        if storage.scheme_of(task.url) not in {"http", "https", storage.scheme_of(task.candidates[0][1])}:
            return "scheme not allowed"
        known = self.settings.contact or politeness.host_of(task.url) != politeness.WIKIMEDIA
        return "" if known else "disallowed"

    def _keep(self, task: Task, reply: safe_http.Reply) -> Answer:
        settings, label = self.settings, reply.headers.get("Content-Type", "")
        photo = jpeg.keep(reply.content, label, settings.long_side, int(settings.megapixels * 1e6))
        with whole(self.folder / f"{task.row['id']}.jpg") as partial:
            partial.write_bytes(photo.content)
        return self._answer(
            task, "ok", reply,
            format=photo.format, bytes=len(reply.content), sha256=hashlib.sha256(photo.content).hexdigest(),
            original_width=photo.original_width, original_height=photo.original_height,
            width=photo.width, height=photo.height,
        )  # fmt: skip

    def _end(self, task: Task, status: str, reply: safe_http.Reply) -> Answer | None:
        """This address gave no photo: turn to the next, or say what the first came to."""
        task.first = task.first or self._answer(task, status, reply)
        task.candidates = task.candidates[1:] if status in EXPIRED else []
        if not task.candidates:
            return dataclasses.replace(task.first, seconds=round(task.seconds, 3))
        task.url, task.attempt, task.seen, task.spent = task.candidates[0][1], 0, set(), 0.0
        return None

    @staticmethod
    def _answer(task: Task, status: str, reply: safe_http.Reply, **photo: Any) -> Answer:
        source, _, width = task.candidates[0]
        code = str(reply.code) if reply.code and storage.scheme_of(task.url) in WEB else ""
        return Answer(
            task.row["id"], task.row["landmark_id"], status, code, task.url, source, task.row["url"], width,
            seconds=round(task.seconds, 3), **photo,
        )  # fmt: skip


def user_agent(contact: str) -> str:
    """How hosts see us: name, version, whom to write to."""
    return f"{politeness.ROBOT}/{VERSION} ({contact or 'no contact given'}) python-requests/{requests.__version__}"


@dataclass
class Collection:
    """The photos of a sample: what is known of them, and who takes the place of the expired.

    The result is the first photos of each landmark, in the sample's order, that can be had: whatever the order in which
    they answer, each failure brings in the next of the same landmark's reserve.
    """

    sample: pd.DataFrame  # columns as in SAMPLE
    answers: dict[str, Answer] = field(default_factory=dict)
    reserves: dict[str, list[dict[str, str]]] = field(default_factory=dict)  # of each landmark, the next one last
    remembered: dict[tuple[str, str], Answer] = field(default_factory=dict)  # by id and address, of earlier runs

    def collect(self, folder: Path, journal: Path, known: list[Answer], settings: Settings) -> None:
        """Fetch into ``folder`` what is not there yet. ``known`` are answers of an earlier, finished run.

        ``journal`` receives a line for every finished photo, so that a killed run is taken up where it stopped. A photo
        that is still there is not asked for again; a failed one neither, while the settings are those under which it
        failed, unless the environment variable LANDMARKS_RETRY says so.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.remembered = {(a.id, a.asked): a for a in known}  # until we know better: Ctrl-C may come any time
        self.remembered = {(a.id, a.asked): a for a in _remember(known, journal, settings)}
        rows: dict[str, list[dict[str, str]]] = {}
        for row in zip(*(self.sample[name] for name in SAMPLE), strict=True):
            rows.setdefault(row[SAMPLE.index("landmark_id")], []).append(dict(zip(SAMPLE, row, strict=True)))
        wanted = sum(row["reserve"] == "0" for of_landmark in rows.values() for row in of_landmark)
        self.reserves = {k: [row for row in rows[k][::-1] if row["reserve"] != "0"] for k in rows}
        tars = storage.Tars(settings.tars, self.sample["id"] if settings.tars else ())
        with Fetcher(folder, journal, settings, tars) as fetcher:
            first = [row for of_landmark in rows.values() for row in of_landmark if row["reserve"] == "0"]
            for _ in progress.over(self._photos(fetcher, first), wanted, "download"):
                pass

    def _photos(self, fetcher: Fetcher, rows: list[dict[str, str]]) -> Iterator[Answer]:
        """Yield every photo as it is there, asking for the next of the reserve at every failure."""
        under_way = 0
        while rows or under_way:
            failed: list[str] = []
            for row in rows:
                answer = self.remembered.get((row["id"], row["url"]))
                if answer and (answer.status != "ok" or _kept(fetcher, answer)):
                    answer = dataclasses.replace(answer, landmark_id=row["landmark_id"], same_as="", replaces="")
                    self.answers[answer.id] = answer
                    if answer.status == "ok":
                        yield answer
                    else:
                        failed.append(answer.landmark_id)
                else:
                    fetcher.add(row)
                    under_way += 1
            if under_way and not failed:
                item = fetcher.answers.get()
                if isinstance(item, BaseException):
                    raise item
                under_way -= 1
                self.answers[item.id] = item
                if item.status == "ok":
                    yield item
                else:
                    failed.append(item.landmark_id)
            rows = [self.reserves[landmark].pop() for landmark in failed if self.reserves[landmark]]

    def result(self) -> list[Answer]:
        """The answers so far, in the sample's order: who replaces whom, and which have the same bytes."""
        chosen = set(self.sample["id"][self.sample["reserve"] == "0"])
        lost: dict[str, list[str]] = {}
        answers = [self.answers[photo] for photo in self.sample["id"] if photo in self.answers]
        for answer in answers:
            if answer.status != "ok":
                lost.setdefault(answer.landmark_id, []).append(answer.id)
        seen: dict[str, str] = {}
        result = []
        for answer in answers:
            if answer.status == "ok":
                same = seen.setdefault(answer.sha256, answer.id)
                losses = lost.get(answer.landmark_id, [])
                answer = dataclasses.replace(
                    answer,
                    same_as=same if same != answer.id else "",
                    replaces=losses.pop(0) if answer.id not in chosen and losses else "",
                )
            result.append(answer)
        return result

    def so_far(self) -> list[Answer]:
        """All that is known when a run is broken off: what this run learnt, and what earlier ones did."""
        answers = {(a.id, a.asked): a for a in self.answers.values()}
        return list({**self.remembered, **answers}.values())

    def prune(self, folder: Path) -> None:
        """Remove from ``folder`` what is not part of the result."""
        kept = {f"{a.id}.jpg" for a in self.answers.values() if a.status == "ok"}
        for file in folder.iterdir():
            if file.name not in kept:
                file.unlink()


def close(journal: Path, settings: Settings | None) -> None:
    """The run has ended and its table is written: of the journal only the settings stay, to judge the next run's by.

    None stands for a run that came to nothing: its failures are forgotten, its photos are not.
    """
    line = json.dumps({"settings": dataclasses.asdict(settings) if settings else None}) + "\n"
    if settings:
        with whole(journal) as partial:
            partial.write_text(line)
    else:
        with journal.open("a") as log:
            log.write(line)


def _remember(known: list[Answer], journal: Path, settings: Settings) -> list[Answer]:
    """What still counts of earlier answers: photos that would be kept alike, failures under the same settings."""
    found: dict[tuple[str, str], Answer] = {(a.id, a.asked): a for a in known}
    under: Any = UNKNOWN  # the settings of the answers so far
    for value in entries(journal):
        if "settings" not in value:
            with contextlib.suppress(TypeError):  # the line of another version
                answer = Answer(**value)
                found[answer.id, answer.asked] = answer
            continue
        if under not in (UNKNOWN, value["settings"]):
            found = {key: answer for key, answer in found.items() if answer.status == "ok"}
        under = value["settings"]
    retry = parallel.environment(RETRY)
    same = under == json.loads(json.dumps(dataclasses.asdict(settings))) and not retry
    return [answer for answer in found.values() if (_fits(answer, settings) if answer.status == "ok" else same)]


def _fits(answer: Answer, settings: Settings) -> bool:
    """Would the photo be kept as it was, under these settings?"""
    pixels = answer.original_width * answer.original_height
    size = decoding.scaled_size(answer.original_width, answer.original_height, settings.long_side)
    widths = {width for _, _, width in settings.candidates(answer.asked)}
    affordable = answer.bytes <= settings.megabytes * 1e6 and pixels <= settings.megapixels * 1e6
    return affordable and (answer.width, answer.height) == size and answer.width_asked in widths


def _kept(fetcher: Fetcher, answer: Answer) -> bool:
    """Is the photo of an earlier answer still there, to the byte?"""
    path = fetcher.folder / f"{answer.id}.jpg"
    return path.is_file() and sha256(path) == answer.sha256
