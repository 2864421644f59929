"""Rate limits and robots.txt: how often, how fast and whether at all a host is asked, in one queue for all hosts."""

import email.utils
import heapq
import itertools
import random
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from protego import Protego

from landmarks.common.status import Status
from landmarks.download import safe_http

Task = TypeVar("Task")

PATIENCE = 120.0  # seconds; a host whose Retry-After or Crawl-delay is longer is given up
OPT_OUT = {"noai", "noimageai"}  # of X-Robots-Tag
ROBOT = "landmarks"  # our name in a robots.txt
ROBOTS_SIZE = 512_000  # bytes of a robots.txt that are read


AGENT = re.compile(r"^(\s*user[- ]?agent\s*[:\s]\s*)([^\s/#]+)", re.IGNORECASE)  # a line of a robots.txt

# Wikimedia serves thumbnails in these widths only and asks for a contact in the User-Agent
# (https://www.mediawiki.org/wiki/Common_thumbnail_sizes, https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy)
WIKIMEDIA = "upload.wikimedia.org"
WIKIMEDIA_ALIAS = "thumb.wikimedia.org"  # where it moves its thumbnails: the same host to us
WIKIMEDIA_ORIGINAL = re.compile(r"(/[^/]+/[^/]+)/([0-9a-f]/[0-9a-f]{2})/([^/]+)")
WIKIMEDIA_THUMBNAIL = re.compile(r"(/[^/]+/[^/]+)/thumb/([0-9a-f]/[0-9a-f]{2})/([^/]+)/((?:[^/]*-)?)(\d+)px-([^/]+)")
WIKIMEDIA_WIDTHS = (20, 40, 60, 120, 250, 330, 500, 960, 1280, 1920, 3840)  # pixels
WIKIMEDIA_CONNECTIONS = 2


@dataclass
class Host(Generic[Task]):
    """One host: its queue, its limits, and what its answers said about it."""

    name: str
    slots: int  # requests at a time: one until its robots.txt has been read
    full_slots: int  # requests at a time after that
    rate: float  # bytes a second, 0: no limit
    rules: dict[str, Protego] = field(default_factory=dict)  # by the address of a robots.txt, once read
    waiting: deque[Task] = field(default_factory=deque)
    active: int = 0
    paused: float = 0.0  # until when, on the monotonic clock
    gap: float = 0.0  # seconds between two requests (Crawl-delay)
    answered: bool = False  # a request for a photo got an answer
    given_up: Status | None = None  # no more requests: all photos that are still waiting get this status
    due: float = 0.0  # when the bytes received so far would have arrived at its rate, on the monotonic clock
    queued: bool = False
    failures: int = 0  # failed connections since its last answer
    rate_lock: threading.Lock = field(default_factory=threading.Lock)  # of due
    robots_lock: threading.Lock = field(default_factory=threading.Lock)  # one thread reads the robots.txt

    def pause_after(self, count: int) -> float:
        """Return the seconds to pause after ``count`` bytes, so that all its connections together keep to the rate."""
        if not self.rate:
            return 0.0
        with self.rate_lock:
            self.due = max(self.due, time.monotonic()) + count / self.rate
            return self.due - time.monotonic()

    def set_robots(self, address: str, code: int, content: bytes) -> None:
        """Set the rules of the robots.txt at ``address``: a 4xx code means that there is none and all is allowed (RFC 9309)."""
        rules = Protego.parse(_robots_text(content[:ROBOTS_SIZE]) if code == 200 else "")
        self.gap = max(self.gap, float(rules.crawl_delay(ROBOT) or 0))
        self.slots = 1 if self.gap else self.full_slots
        if self.gap > PATIENCE:
            self.given_up = Status.DISALLOWED
        self.rules[address] = rules


def _robots_text(content: bytes) -> str:
    """Decode a robots.txt and reduce each agent to its product token: ``landmarks``, ``*`` or that of another robot.

    Protego would compare ``landmarks/0.1`` as a whole, and take ``mark`` for a part of our name.
    """
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = content.decode("utf-16" if wide else "utf-8-sig", "replace")
    return "\n".join(AGENT.sub(_product_token, line, count=1) for line in text.splitlines())


def _product_token(found: re.Match[str]) -> str:
    token = found[2].strip("*").lower()
    return "User-agent: " + ("*" if not token else ROBOT if token == ROBOT else "another") + " # "


def thumbnail(url: str, width: int) -> tuple[str, int]:
    """Return the address of a thumbnail at least ``width`` pixels wide, and its width.

    The width is rounded up to one that the host allows. Empty and 0 if the host makes no thumbnail of this picture.
    """
    parts = safe_http.split(url)
    found = WIKIMEDIA_ORIGINAL.fullmatch(parts.path)
    if host_of(url) != WIKIMEDIA or not width or not found:
        return "", 0
    asked = next((allowed for allowed in WIKIMEDIA_WIDTHS if allowed >= width), WIKIMEDIA_WIDTHS[-1])
    project, folder, name = found.groups()
    ending = name.rpartition(".")[2].lower()
    if ending not in ("jpg", "jpeg", "png", "webp", "tif", "tiff"):
        return "", 0
    thumb = f"lossy-page1-{asked}px-{name}.jpg" if ending in ("tif", "tiff") else f"{asked}px-{name}"
    return f"https://{parts.netloc}{project}/thumb/{folder}/{name}/{thumb}", asked


def standard_width(url: str) -> tuple[str, int]:
    """Return ``url`` and 0; of a Wikimedia thumbnail, the address in the next width that is allowed, and that width."""
    found = WIKIMEDIA_THUMBNAIL.fullmatch(safe_http.split(url).path)
    if host_of(url) != WIKIMEDIA or not found:
        return url, 0
    width = next((allowed for allowed in WIKIMEDIA_WIDTHS if allowed >= int(found[5])), WIKIMEDIA_WIDTHS[-1])
    before, _, after = url.rpartition(f"/{found[4]}{found[5]}px-")
    return f"{before}/{found[4]}{width}px-{after}", width


def original(url: str) -> str:
    """Return the address of the picture that a Wikimedia thumbnail shows; empty for any other address."""
    found = WIKIMEDIA_THUMBNAIL.fullmatch(safe_http.split(url).path)
    return f"https://{WIKIMEDIA}{found[1]}/{found[2]}/{found[3]}" if found and host_of(url) == WIKIMEDIA else ""


def host_of(url: str) -> str:
    """Return what identifies a URL's host: host and port, or scheme and location for anything but HTTP."""
    parts = safe_http.split(url)
    if parts.scheme not in ("http", "https"):
        return f"{parts.scheme}://{parts.netloc}"
    port = {"http": ":80", "https": ":443"}[parts.scheme]
    name = parts.netloc.rpartition("@")[2].lower().removesuffix(port).removesuffix(".")
    return WIKIMEDIA if name == WIKIMEDIA_ALIAS else name


def opts_out(header: str) -> bool:
    """Return whether an ``X-Robots-Tag`` forbids training on the picture; in doubt yes: only ``otherbot: noai`` is for others."""
    for part in header.lower().split(","):
        robot, _, directive = part.rpartition(":")
        if directive.strip() in OPT_OUT and robot.strip() in ("", ROBOT):
            return True
    return False


def pause(retry_after: str, attempt: int) -> float:
    """Return the seconds until a host may be asked again: its Retry-After (seconds or a date), else 1, 2, 4 … with jitter."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        date = email.utils.parsedate_to_datetime(retry_after)
        return max(date.timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return min(2.0**attempt * random.uniform(0.5, 1.5), PATIENCE)


class Queue(Generic[Task]):
    """Tasks by host, for several threads: a busy host does not block the tasks of another."""

    def __init__(self, connections: int, per_host: int, robots: bool, kilobytes: float = 0) -> None:
        """Create an empty queue for at most ``connections`` threads.

        It hands out tasks of a host ``per_host`` at a time, ``kilobytes`` a second (0: any number); with ``robots``, one
        task alone until the host's robots.txt has been read.
        """
        self._connections, self._per_host, self._robots, self._kilobytes = connections, per_host, robots, kilobytes
        self._hosts: dict[str, Host[Task]] = {}
        self._ready: deque[Host[Task]] = deque()
        self._later: list[tuple[float, int, Host[Task], Task | None]] = []
        self._count = itertools.count()
        self._change = threading.Condition()
        self._closed = False

    def add(self, url: str, task: Task, first: bool = False, delay: float = 0.0) -> None:
        """Add a task behind (``first``: before) the others of its URL's host, to be taken after ``delay`` seconds at the earliest."""
        with self._change:
            host = self._host(host_of(url))
            if delay:
                heapq.heappush(self._later, (time.monotonic() + delay, next(self._count), host, task))
            elif first:
                host.waiting.appendleft(task)
            else:
                host.waiting.append(task)
            self._offer(host)
            self._change.notify()

    def take(self) -> tuple[Host[Task], Task] | None:
        """Wait for the next task; return it and its host, one of whose slots it holds until ``done``. None once closed."""
        with self._change:
            while not self._closed:
                self._wake()
                if self._ready:
                    host = self._ready.popleft()
                    host.queued = False
                    if host.paused > time.monotonic() and not host.given_up:
                        continue  # paused after it was lined up; at the end of the pause it is lined up again
                    host.active += 1
                    task = host.waiting.popleft()
                    self._offer(host)
                    if self._ready:
                        self._change.notify()
                    return host, task
                self._change.wait(max(self._later[0][0] - time.monotonic(), 0.0) if self._later else None)
            return None

    def done(self, host: Host[Task], pause: float = 0.0) -> None:
        """Release a slot; the next request to this host is at least ``pause`` seconds away."""
        with self._change:
            host.active -= 1
            if pause or host.gap:
                self._hold(host, max(pause, host.gap))
            self._offer(host)
            self._change.notify()

    def close(self) -> None:
        """Make ``take`` return None in every thread."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def _hold(self, host: Host[Task], seconds: float) -> None:
        host.paused = max(host.paused, time.monotonic() + seconds)
        heapq.heappush(self._later, (host.paused, next(self._count), host, None))

    def _host(self, name: str) -> Host[Task]:
        if name not in self._hosts:
            slots = self._connections if "://" in name else self._per_host
            slots = min(slots, WIKIMEDIA_CONNECTIONS) if name == WIKIMEDIA else slots
            first = 1 if self._robots and "://" not in name else slots
            self._hosts[name] = Host(name, slots=first, full_slots=slots, rate=self._kilobytes * 1000)
        return self._hosts[name]

    def _wake(self) -> None:
        """Bring back the tasks and hosts whose delay is over."""
        while self._later and self._later[0][0] <= time.monotonic():
            _, _, host, task = heapq.heappop(self._later)
            if task is not None:
                host.waiting.appendleft(task)
            self._offer(host)

    def _offer(self, host: Host[Task]) -> None:
        """Line a host up if a request may go to it now."""
        paused = host.paused > time.monotonic() and not host.given_up
        if host.waiting and host.active < host.slots and not paused and not host.queued:
            host.queued = True
            self._ready.append(host)
