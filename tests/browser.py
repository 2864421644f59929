"""A headless Chromium, spoken to over a pipe (its DevTools protocol): what a person would see of a page."""

import base64
import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


class Page:
    """One open page. ``messages`` holds what the browser said: errors, requests."""

    def __init__(self, wrote: int, reads: int) -> None:
        self.wrote = os.fdopen(wrote, "wb", buffering=0)
        self.reads = os.fdopen(reads, "rb")
        self.number = 0
        self.session: str | None = None
        self.messages: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol; its result."""
        self.number += 1
        question = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            question["sessionId"] = self.session
        self.wrote.write(json.dumps(question).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:
            self.messages.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        said = bytearray()
        while (byte := self.reads.read(1)) != b"\0":
            assert byte, "the browser has gone"
            said += byte
        return dict(json.loads(said))

    def open(self, place: Path | str, width: int = 360, height: int = 740) -> None:
        """Load a file or an address in a window of ``width`` by ``height`` CSS pixels and wait until it is there."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.messages.clear()
        self.ask("Page.navigate", url=place if isinstance(place, str) else place.as_uri())
        while not any(message.get("method") == "Page.loadEventFired" for message in self.messages):
            self.messages.append(self._next())

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        done = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, script: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"{script}: {self.run('document.body.innerText')}"
            time.sleep(0.05)

    def give(self, selector: str, file: Path) -> None:
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def read_aloud(self) -> list[tuple[str, str]]:
        """Role and name of all that a screen reader meets, in order."""
        nodes = self.ask("Accessibility.getFullAXTree")["nodes"]
        met = [node for node in nodes if not node["ignored"]]
        return [(node["role"]["value"], str(node.get("name", {}).get("value", ""))) for node in met]

    def picture(self, **more: Any) -> bytes:
        """A PNG of what is in the window."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png", **more)["data"])

    def complaints(self) -> list[str]:
        """What went to the console as an error, and uncaught exceptions."""
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        events = [message["params"] for message in self.messages if message.get("method") in kinds]
        levels = [event.get("entry", {}).get("level", event.get("type", "error")) for event in events]
        return [json.dumps(event) for event, level in zip(events, levels, strict=True) if level == "error"]

    def asked(self) -> list[str]:
        return [m["params"]["request"]["url"] for m in self.messages if m.get("method") == "Network.requestWillBeSent"]


@contextlib.contextmanager
def browsing(profile: Path) -> Iterator[Page]:
    """A page of a fresh browser whose profile lies in ``profile``."""
    to_browser, wrote = os.pipe()
    reads, from_browser = os.pipe()

    def as_three_and_four() -> None:  # where --remote-debugging-pipe looks
        high = [os.dup(to_browser), os.dup(from_browser)]
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
               "--remote-debugging-pipe", f"--user-data-dir={profile}"]  # fmt: skip
    process = Popen(command, preexec_fn=as_three_and_four, close_fds=False, stdout=DEVNULL, stderr=DEVNULL)
    os.close(to_browser)
    os.close(from_browser)
    page = Page(wrote, reads)
    try:
        yield page
        page.session = None
        page.ask("Browser.close")
    finally:
        page.wrote.close()
        process.terminate()
        process.wait(20)
        page.reads.close()
