"""Photos fetched from URLs, one request at a time and thread: each ends as a stored JPEG or as the status that says why not."""

import dataclasses
import hashlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import requests
from requests.adapters import BaseAdapter

from landmarks.common import parallel
from landmarks.common.files import whole
from landmarks.common.knobs import Knob
from landmarks.common.status import OTHER_FORMATS, Status, StatusError
from landmarks.download import challenge, politeness, safe_http, storage
from landmarks.images import jpeg

CONNECTIONS = "LANDMARKS_CONNECTIONS"  # an environment variable: how many requests are open at once changes no result
VERSION = "0.1"
HTTP = ("http", "https")
GONE, REFUSED, NOT_NOW = (404, 410), (401, 403, 451), (408, 425)
NO_REPLY = safe_http.Reply(0, requests.structures.CaseInsensitiveDict())
# a host that has answered before is given up after this many times the attempts of one photo, all failed in a row
KNOWN_HOST = 4
TEMPORARY = (Status.BUSY, Status.SERVER_ERROR, Status.UNREACHABLE, Status.TRUNCATED)  # tried again
EXPIRED = (  # an archive may still have the photo
    Status.GONE, Status.UNREACHABLE, Status.SERVER_ERROR, Status.UNEXPECTED, Status.CERTIFICATE, Status.COOKIE_CHALLENGE,
    Status.TOO_SLOW, Status.REDIRECT_LOOP, Status.TOO_MANY_REDIRECTS,
    Status.HTML, Status.MISLABELLED, Status.NOT_A_PHOTO, Status.TRUNCATED, Status.DOES_NOT_DECODE,
    *OTHER_FORMATS, Status.TOO_SMALL,
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What became of one photo: a row of the table of downloads. Sizes in pixels, upright."""

    id: str
    landmark_id: str
    status: Status
    http: str = ""  # status code of the last answer
    url: str = ""  # the last address that was asked, after redirects
    source: str = ""  # origin, the host of the archive that had it, or tar
    asked: str = ""  # the address in the catalogue
    width_asked: int = 0  # of a thumbnail; 0: the photo as it is
    format: str = ""  # as received
    bytes: int = 0  # as received
    original_width: int = 0
    original_height: int = 0
    width: int = 0  # as stored
    height: int = 0
    sha256: str = ""  # of the stored file
    same_as: str = ""  # of a duplicate: id of another photo with the same bytes
    replaces: str = ""  # id of the expired photo whose place it took
    seconds: float = 0.0  # that requests took; 0 where no network was involved

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Make an answer of what ``dataclasses.asdict`` gave. Raises ``TypeError`` or ``ValueError`` for any other fields."""
        made = cls(**values)
        return dataclasses.replace(made, status=Status(made.status))


class Candidate(NamedTuple):
    """An address where a photo may be."""

    source: str  # origin, the host of an archive, or tar
    url: str
    width: int = 0  # of a thumbnail; 0: the photo as it is

    @property
    def is_catalogued(self) -> bool:
        """Whether this is the catalogue's own photo and no thumbnail, TAR member or archived copy of it."""
        return self.source == "origin" and not self.width


@dataclass(frozen=True)
class FetchSettings:
    """Which addresses are asked, how, and what is stored. The block ``download`` of params.yaml."""

    contact: Annotated[str, Knob("A mail address or page of yours, shown to hosts; Wikimedia asks for it")]
    schemes: Annotated[tuple[str, ...], Knob("Schemes allowed; besides http, https and demo: file, s3, gs, abfs")]
    loopback: Annotated[bool, Knob("Allow this machine's own addresses")]
    robots: Annotated[bool, Knob("Obey robots.txt")]
    per_host: Annotated[int, Knob("Requests to one host at a time", min=1)]
    kilobytes_per_second: Annotated[float, Knob("Limit of one host, on average; 0: none", min=0)]
    attempts: Annotated[int, Knob("Requests for a photo while a host is busy or unreachable", min=1)]
    seconds: Annotated[float, Knob("Longest time that the answers of an attempt may take", min=0.1)]
    redirects: Annotated[int, Knob("Redirects followed", min=0)]
    megabytes: Annotated[float, Knob("Largest answer accepted", min=0.001)]
    megapixels: Annotated[float, Knob("Largest photo accepted", min=0.001, max=80)]
    long_side: Annotated[int, Knob("Cap on a photo's longer side, pixels; 0: as received", min=0)]
    thumbnail: Annotated[int, Knob("Width, pixels, where a host makes thumbnails (Wikimedia); 0: the original", min=0)]
    archives: Annotated[tuple[str, ...], Knob("Archives asked for expired photos: addresses with {url} in them")]
    tars: Annotated[tuple[str, ...], Knob("TAR archives with <id>.jpg in them, read before any URL")]

    def candidates(self, url: str) -> list[Candidate]:
        """Return the addresses for the photo of ``url``, in order: the next is asked if one has expired."""
        thumbnail, width = politeness.thumbnail(url, self.thumbnail)
        smaller = [Candidate("origin", thumbnail, width)] if thumbnail else []
        larger = politeness.original(url)  # where the catalogue has a thumbnail
        archives = self.archives if storage.scheme_of(url) in HTTP else ()
        return [
            *smaller,
            Candidate("origin", *politeness.standard_width(url)),
            *([Candidate("origin", larger)] if larger else []),
            *(Candidate(politeness.host_of(where), where.replace("{url}", url)) for where in archives),
        ]


@dataclass
class Task:
    """A photo that is being fetched."""

    row: dict[str, str]
    candidates: list[Candidate]  # the first is being asked
    url: str
    attempt: int = 0
    visited: set[str] = field(default_factory=set)  # by redirects so far
    cookies: bool = False  # one of the redirects set a cookie
    attempt_seconds: float = 0.0
    total_seconds: float = 0.0
    first_answer: Answer | None = None  # that of the first candidate which is no thumbnail


@dataclass(frozen=True)
class Delay:
    """Seconds until the next request to the host, and until this task is tried again."""

    host: float = 0.0
    task: float = 0.0


class Fetcher:
    """Threads that fetch photos, one request at a time each, and store them; a context manager."""

    def __init__(
        self,
        folder: Path,
        settings: FetchSettings,
        *,
        tars: storage.Tars | None = None,
        transports: Mapping[str, BaseAdapter] | None = None,
        record: Callable[[Answer], None] = lambda answer: None,
    ) -> None:
        """Prepare the threads; entering the context starts them. Photos go to ``folder/<id>.jpg``.

        ``tars`` are read before any address is asked. ``transports``: by scheme, adapters of ``requests`` that stand in for a
        network. They answer with a status code as HTTP hosts do; there is no robots.txt, and the time they take is not
        counted. ``record`` is called in the thread that fetched the photo, before the answer is handed on.
        """
        self.folder, self.settings, self.tars = folder, settings, tars or storage.Tars((), ())
        self.answers: queue.SimpleQueue[Answer | BaseException] = queue.SimpleQueue()
        self._transports, self._record = transports or {}, record
        connections = parallel.environment(CONNECTIONS) or 16
        rate = settings.kilobytes_per_second
        self._queue: politeness.Queue[Task] = politeness.Queue(connections, settings.per_host, settings.robots, rate)
        self._session = safe_http.session(user_agent(settings.contact), connections, settings.loopback)
        for scheme, adapter in self._transports.items():
            self._session.mount(f"{scheme}://", adapter)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(connections)]

    def __enter__(self) -> Self:
        """Start the threads."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Tell the threads to stop, without waiting for requests that are open."""
        self._queue.close()

    def add(self, row: dict[str, str]) -> None:
        """Fetch the photo of ``row`` (id, url, landmark_id). Its ``Answer`` arrives in ``answers``, or the error of a thread."""
        candidates = self.settings.candidates(row["url"])
        if row["id"] in self.tars:
            candidates = [Candidate("tar", "tar://"), *candidates]
        task = Task(row=row, candidates=candidates, url=candidates[0].url)
        self._queue.add(task.url, task)

    def _work(self) -> None:
        while taken := self._queue.take():
            host, task = taken
            try:
                answer, delay = self._request(host, task)
                if answer:
                    self._record(answer)
                self._queue.done(host, delay.host)
                if answer:
                    self.answers.put(answer)
                else:  # after this line the task may be in the hands of another thread
                    self._queue.add(task.url, task, first=True, delay=delay.task)
            except BaseException as error:  # a full disk, a defect: raised again in the main thread
                self.answers.put(error)
                return

    def _request(self, host: politeness.Host[Task], task: Task) -> tuple[Answer | None, Delay]:
        """Send one request. Return the answer, or None if the task goes back to the queue."""
        begin, reply, delay = time.monotonic(), NO_REPLY, Delay()
        try:
            if host.given_up:
                raise StatusError(host.given_up)
            reply = self._reply(host, task)
            status, delay = self._status(reply), Delay(host=host.pause_after(len(reply.content)))
            host.failures = 0 if host.answered and status != Status.BUSY else host.failures
        except StatusError as failed:
            status = failed.status
        took = 0.0 if storage.scheme_of(task.url) in self._transports else time.monotonic() - begin
        task.attempt_seconds, task.total_seconds = task.attempt_seconds + took, task.total_seconds + took
        if status == Status.MOVED:
            refused = self._follow(task, reply)
            if refused is None:
                return None, delay
            status = refused
        if status == Status.OK:
            try:
                return self._store(task, reply), delay
            except StatusError as failed:
                status = failed.status
        elif status in TEMPORARY and not host.given_up and not task.candidates[0].width:
            delay = self._after_failure(host, task, status, reply)
            if task.attempt < self.settings.attempts and not host.given_up:
                return None, delay
        return self._next_candidate(task, status, reply), delay

    def _after_failure(self, host: politeness.Host[Task], task: Task, status: Status, reply: safe_http.Reply) -> Delay:
        """Count a failure that may be temporary. Return how long to wait, unless the host is given up now."""
        task.attempt, task.attempt_seconds = task.attempt + 1, 0.0
        pause = politeness.pause(reply.headers.get("Retry-After", ""), task.attempt - 1)
        whole_host = status in (Status.BUSY, Status.UNREACHABLE) or "Retry-After" in reply.headers
        if status in (Status.BUSY, Status.UNREACHABLE) or not host.answered:
            host.failures += 1
        allowed = self.settings.attempts * (KNOWN_HOST if host.answered else 1)
        if host.failures >= allowed or (whole_host and pause > politeness.PATIENCE):
            host.given_up = status
            return Delay()
        return Delay(host=pause) if whole_host else Delay(task=pause)

    def _reply(self, host: politeness.Host[Task], task: Task) -> safe_http.Reply:
        """Return the answer of a host, a file or a TAR archive. Raises ``StatusError`` where there is none."""
        settings, scheme = self.settings, storage.scheme_of(task.url)
        if task.candidates[0].source == "tar":
            task.url, content = self.tars.read(task.row["id"], settings.megabytes)
            return safe_http.Reply(200, NO_REPLY.headers, content)
        if scheme not in settings.schemes:
            raise StatusError(Status.BAD_URL if scheme == "bad" else Status.SCHEME_NOT_ALLOWED)
        if not self._has_code(scheme):
            content = storage.read(task.url, settings.megabytes)
            host.answered = True
            return safe_http.Reply(200, NO_REPLY.headers, content)
        if settings.robots and scheme in HTTP:
            trouble = self._check_robots(host, task)
            if trouble:
                return trouble
        left = settings.seconds - task.attempt_seconds
        if left <= 0:
            raise StatusError(Status.TOO_SLOW)
        reply = safe_http.get(self._session, task.url, left, settings.megabytes)
        host.answered = True
        return reply

    def _has_code(self, scheme: str) -> bool:
        """Return whether this scheme answers with a status code."""
        return scheme in HTTP or scheme in self._transports

    def _check_robots(self, host: politeness.Host[Task], task: Task) -> safe_http.Reply | None:
        """Read the host's robots.txt, once. Return its answer if that is 429 or 5xx. Raises ``StatusError``: ``DISALLOWED``."""
        address = safe_http.join(task.url, "/robots.txt")
        with host.robots_lock:
            if address not in host.rules and not host.given_up:
                try:
                    reply = self._robots_txt(address)
                except StatusError as failed:
                    if failed.status not in TEMPORARY and not task.candidates[0].width:
                        host.given_up = failed.status
                    raise
                if reply.code == 429 or reply.code >= 500:
                    return reply
                host.set_robots(address, reply.code, reply.content)
        if host.given_up or not host.rules[address].can_fetch(task.url, politeness.ROBOT):
            raise StatusError(host.given_up or Status.DISALLOWED)
        return None

    def _robots_txt(self, address: str) -> safe_http.Reply:
        """Return the answer for a robots.txt after redirects; if there are too many, the last of them."""
        reply, end = NO_REPLY, time.monotonic() + self.settings.seconds
        for _ in range(self.settings.redirects + 1):
            left = max(end - time.monotonic(), 0.001)
            reply = safe_http.get(self._session, address, left, self.settings.megabytes)
            address = safe_http.join(address, reply.location)
            if not reply.location:
                break
        return reply

    @staticmethod
    def _status(reply: safe_http.Reply) -> Status:
        """Return the status of an answer, judged by its code and headers."""
        code = reply.code
        if reply.location:
            return Status.MOVED
        if challenge.wants_browser(reply):
            return Status.COOKIE_CHALLENGE
        if code == 200:
            return Status.OPTED_OUT if politeness.opts_out(reply.headers.get("X-Robots-Tag", "")) else Status.OK
        if code == 429:
            return Status.BUSY
        if code >= 500 or code in NOT_NOW:
            return Status.SERVER_ERROR
        return Status.GONE if code in GONE else Status.REFUSED if code in REFUSED else Status.UNEXPECTED

    def _follow(self, task: Task, reply: safe_http.Reply) -> Status | None:
        """Point a task to the target of a redirect. Return a status if it may not be followed."""
        task.visited.add(task.url)
        task.cookies = task.cookies or "Set-Cookie" in reply.headers
        if len(task.visited) > self.settings.redirects:
            return Status.TOO_MANY_REDIRECTS
        try:
            task.url, _ = politeness.standard_width(safe_http.join(task.url, reply.location))
        except StatusError as failed:
            return failed.status
        if task.url in task.visited:
            return Status.COOKIE_CHALLENGE if task.cookies else Status.REDIRECT_LOOP
        if storage.scheme_of(task.url) not in {*HTTP, storage.scheme_of(task.candidates[0].url)}:
            return Status.SCHEME_NOT_ALLOWED
        anonymous = not self.settings.contact and politeness.host_of(task.url) == politeness.WIKIMEDIA
        return Status.DISALLOWED if anonymous else None

    def _store(self, task: Task, reply: safe_http.Reply) -> Answer:
        """Write the photo of an answer to the folder. Raises ``StatusError`` if there is no photo in it."""
        settings, label = self.settings, reply.headers.get("Content-Type", "")
        photo = jpeg.keep(reply.content, label, settings.long_side, int(settings.megapixels * 1e6))
        with whole(self.folder / f"{task.row['id']}.jpg") as partial:
            partial.write_bytes(photo.content)
        described = dataclasses.asdict(photo)
        digest = hashlib.sha256(described.pop("content")).hexdigest()
        answer = self._answer(task, Status.OK, reply)
        return dataclasses.replace(answer, bytes=len(reply.content), sha256=digest, **described)

    def _next_candidate(self, task: Task, status: Status, reply: safe_http.Reply) -> Answer | None:
        """Point a task to its next address, or return the answer of its first one if there is no other to ask."""
        asked, answer = task.candidates[0], task.first_answer or self._answer(task, status, reply)
        over = status == Status.OPTED_OUT or (asked.is_catalogued and status not in EXPIRED)
        task.candidates = [] if over else task.candidates[1:]
        if not task.candidates:
            return dataclasses.replace(answer, seconds=round(task.total_seconds, 3))
        task.first_answer = None if asked.width else answer
        task.url, task.attempt, task.attempt_seconds = task.candidates[0].url, 0, 0.0
        task.visited, task.cookies = set(), False
        return None

    def _answer(self, task: Task, status: Status, reply: safe_http.Reply) -> Answer:
        return Answer(
            id=task.row["id"],
            landmark_id=task.row["landmark_id"],
            status=status,
            http=str(reply.code) if reply.code and self._has_code(storage.scheme_of(task.url)) else "",
            url=task.url,
            source=task.candidates[0].source,
            asked=task.row["url"],
            width_asked=task.candidates[0].width,
            seconds=round(task.total_seconds, 3),
        )


def user_agent(contact: str) -> str:
    """Return the User-Agent header: name, version, contact."""
    return f"{politeness.ROBOT}/{VERSION} ({contact or 'no contact given'}) python-requests/{requests.__version__}"
