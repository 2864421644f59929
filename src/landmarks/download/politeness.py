"""Manners: how often, how fast and whether at all a host is asked, whoever asks, in one queue for all hosts."""

from __future__ import annotations

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

from landmarks.download import safe_http

Task = TypeVar("Task")

PATIENCE = 120.0  # the longest that a Retry-After or a Crawl-delay is obeyed, seconds; who asks for more is left alone
OPT_OUT = {"noai", "noimageai"}
ROBOT = "landmarks"  # our name in a robots.txt
ROBOTS_SIZE = 512_000  # bytes of a robots.txt that are read


@dataclass(frozen=True)
class Manners:
    """What every host is granted. ``kilobytes_per_second`` 0: as fast as it sends."""

    per_host: int = 4
    kilobytes_per_second: float = 0.0
    robots: bool = True


@dataclass(frozen=True)
class Profile:
    """What one host asks for by name: its rules are on its own pages."""

    connections: int
    widths: tuple[int, ...]  # of thumbnails, pixels


# upload.wikimedia.org serves thumbnails in these widths only and asks for a contact in the User-Agent
# (https://www.mediawiki.org/wiki/Common_thumbnail_sizes, https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy)
WIKIMEDIA = "upload.wikimedia.org"
WIKIMEDIA_ORIGINAL = re.compile(r"(/[^/]+/[^/]+)/([0-9a-f]/[0-9a-f]{2})/([^/]+)")
PROFILES = {WIKIMEDIA: Profile(2, (20, 40, 60, 120, 250, 330, 500, 960, 1280, 1920, 3840))}


@dataclass
class Host(Generic[Task]):
    """One host: its queue, and what it said about itself."""

    name: str
    slots: int  # requests at a time: one until its robots.txt was read
    granted: int
    rate: float  # bytes a second, 0: no bound
    rules: dict[str, Protego] = field(default_factory=dict)  # its robots.txt, by scheme, once read
    waiting: deque[Task] = field(default_factory=deque)
    active: int = 0
    paused: float = 0.0  # until when, on the monotonic clock
    gap: float = 0.0  # seconds between two requests (Crawl-delay)
    open: bool = False  # it answered when asked for a photo
    left_alone: str = ""  # the status of all that is still waiting: nobody asks this host again
    due: float = 0.0  # until when the bytes so far would have taken at its rate, on the monotonic clock
    queued: bool = False
    failures: int = 0  # connections that failed since it last answered
    lock: threading.Lock = field(default_factory=threading.Lock)  # of what it owes
    reading: threading.Lock = field(default_factory=threading.Lock)  # of the robots.txt

    def owes(self, count: int) -> float:
        """Seconds for which it is to be left in peace after it sent ``count`` bytes, over all its connections."""
        if not self.rate:
            return 0.0
        with self.lock:
            self.due = max(self.due, time.monotonic()) + count / self.rate
            return self.due - time.monotonic()

    def learn(self, scheme: str, code: int, content: bytes) -> None:
        """Take note of the host's robots.txt: any 4xx says that there is none, and all is allowed (RFC 9309)."""
        found = Protego.parse(content[:ROBOTS_SIZE].decode("utf-8", "replace") if code == 200 else "")
        self.gap = max(self.gap, float(found.crawl_delay(ROBOT) or 0))
        self.slots = 1 if self.gap else self.granted
        if self.gap > PATIENCE:
            self.left_alone = "disallowed"
        self.rules[scheme] = found


def thumbnail(url: str, width: int) -> tuple[str, int]:
    """The address of a picture that its host makes at least ``width`` pixels wide, and the width to ask for.

    The width is rounded up to one that the host allows. Empty and 0 if the host makes none of this picture.
    """
    parts = safe_http.split(url)
    profile = PROFILES.get(host_of(url)) if parts.scheme in ("http", "https") else None
    found = WIKIMEDIA_ORIGINAL.fullmatch(parts.path)
    if not profile or not width or not found:
        return "", 0
    asked = next((allowed for allowed in profile.widths if allowed >= width), profile.widths[-1])
    project, folder, name = found.groups()
    ending = name.rpartition(".")[2].lower()
    if ending not in ("jpg", "jpeg", "png", "webp", "tif", "tiff"):
        return "", 0
    thumb = f"lossy-page1-{asked}px-{name}.jpg" if ending in ("tif", "tiff") else f"{asked}px-{name}"
    return f"https://{parts.netloc}{project}/thumb/{folder}/{name}/{thumb}", asked


def host_of(url: str) -> str:
    """The name under which a URL's host is known: host and port, or the scheme where there is no host to spare."""
    parts = safe_http.split(url)
    if parts.scheme not in ("http", "https"):
        return f"{parts.scheme}://{parts.netloc if parts.scheme != 'demo' else ''}"
    port = {"http": ":80", "https": ":443"}[parts.scheme]
    return parts.netloc.rpartition("@")[2].lower().removesuffix(port)


def opts_out(header: str) -> bool:
    """Does an ``X-Robots-Tag`` forbid learning from the picture? In doubt it does: only ``otherbot: noai`` is for others."""
    for part in header.lower().split(","):
        robot, _, directive = part.rpartition(":")
        if directive.strip() in OPT_OUT and robot.strip() in ("", ROBOT):
            return True
    return False


def pause(retry_after: str, attempt: int) -> float:
    """Seconds until a host may be asked again: what it said (seconds or a date), else 1, 2, 4 … with jitter."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        date = email.utils.parsedate_to_datetime(retry_after)
        return max(date.timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return min(2.0**attempt * random.uniform(0.5, 1.5), PATIENCE)


class Queue(Generic[Task]):
    """What is to be asked, by host: nobody waits for a busy host while another is free."""

    def __init__(self, manners: Manners, connections: int) -> None:
        """An empty queue for ``connections`` takers at most."""
        self._manners, self._connections = manners, connections
        self._hosts: dict[str, Host[Task]] = {}
        self._ready: deque[Host[Task]] = deque()
        self._later: list[tuple[float, int, Host[Task], Task | None]] = []
        self._count = itertools.count()
        self._change = threading.Condition()
        self._closed = False

    def add(self, url: str, task: Task, first: bool = False, delay: float = 0.0) -> None:
        """Put a task behind (or before) the others of its URL's host; ``delay`` seconds from now at the earliest."""
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
        """The next task and its host, one of whose slots it takes: ``done`` gives it back. None once closed."""
        with self._change:
            while not self._closed:
                self._wake()
                if self._ready:
                    host = self._ready.popleft()
                    host.queued = False
                    if host.paused > time.monotonic() and not host.left_alone:
                        continue  # since it was lined up it asked for a rest, at whose end it is lined up again
                    host.active += 1
                    task = host.waiting.popleft()
                    self._offer(host)
                    if self._ready:
                        self._change.notify()
                    return host, task
                self._change.wait(max(self._later[0][0] - time.monotonic(), 0.0) if self._later else None)
            return None

    def done(self, host: Host[Task], pause: float = 0.0) -> None:
        """Give a slot back; ``pause`` seconds pass before anybody asks this host again."""
        with self._change:
            host.active -= 1
            if pause or host.gap:
                self._hold(host, max(pause, host.gap))
            self._offer(host)
            self._change.notify()

    def close(self) -> None:
        """Let every taker go home."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def _hold(self, host: Host[Task], seconds: float) -> None:
        host.paused = max(host.paused, time.monotonic() + seconds)
        heapq.heappush(self._later, (host.paused, next(self._count), host, None))

    def _host(self, name: str) -> Host[Task]:
        if name not in self._hosts:
            profile = PROFILES.get(name)
            slots = self._connections if "://" in name else self._manners.per_host
            slots = min(slots, profile.connections) if profile else slots
            unknown = self._manners.robots and "://" not in name
            rate = self._manners.kilobytes_per_second * 1000
            self._hosts[name] = Host(name, 1 if unknown else slots, slots, rate)
        return self._hosts[name]

    def _wake(self) -> None:
        """Bring back what was put off until now."""
        while self._later and self._later[0][0] <= time.monotonic():
            _, _, host, task = heapq.heappop(self._later)
            if task is not None:
                host.waiting.appendleft(task)
            self._offer(host)

    def _offer(self, host: Host[Task]) -> None:
        """Line a host up if it may be asked now."""
        paused = host.paused > time.monotonic() and not host.left_alone
        if host.waiting and host.active < host.slots and not paused and not host.queued:
            host.queued = True
            self._ready.append(host)
