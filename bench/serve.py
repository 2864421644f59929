"""The server, measured: what HTTP adds to the bare model, photos a second beside LitServe, memory, seconds to ready.

python bench/serve.py [PHOTO] [--litserve PYTHON]   after `make repro`

PHOTO: a JPEG; else the photo of the made world whose size is nearest to 170 KB. PYTHON: of an environment with litserve and all
of requirements.lock; without it, only ours is measured. Rounds are interleaved, so that what else the machine does meets all.
"""

import base64
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import memory
import numpy as np
import psutil
import requests
import typer
from material import ROOT

PATHS = {"ours": "/v1/models/landmarks:predict"}  # LitServe's own is /predict
KILOBYTES = 170


class Client:
    """A kept-alive connection that sends the same photo."""

    def __init__(self, port: int, path: str, body: bytes) -> None:
        self.connection, self.path, self.body = http.client.HTTPConnection("127.0.0.1", port, timeout=60), path, body

    def ask(self) -> float:
        """The confidence of the answer."""
        self.connection.request("POST", self.path, self.body, {"Content-Type": "application/json"})
        reply = self.connection.getresponse()
        content = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{self.path}: {reply.status} {content[:200]!r}")
        return float(json.loads(content)["predictions"][0]["confidence"])


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, ready: str) -> Iterator[tuple[int, float]]:
    """A server's process id and its seconds to ready: until ``ready`` answers 200."""
    begin = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)}: ended with {process.returncode}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", ready)
                if connection.getresponse().status == 200:
                    break
            time.sleep(0.05)
        yield process.pid, time.monotonic() - begin
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(30)


def seconds_of(function: Callable[[], object]) -> float:
    """How long one call takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def a_second(port: int, path: str, body: bytes, clients: int, seconds: float) -> float:
    """Photos a second that ``clients`` at once are answered."""
    end = time.perf_counter() + seconds

    def work(_: int) -> int:
        client, count = Client(port, path, body), 0
        while time.perf_counter() < end:
            client.ask()
            count += 1
        return count

    with ThreadPoolExecutor(clients) as pool:
        begin = time.perf_counter()
        return sum(pool.map(work, range(clients))) / (time.perf_counter() - begin)


def explain(port: int, content: bytes) -> None:
    """Ask once where the network looks in a photo, and for similar ones."""
    answer = requests.post(f"http://127.0.0.1:{port}/v1/explain", files={"photo": content}, timeout=60)
    answer.raise_for_status()


def resident(process: int) -> float:
    """Resident set of a process, GB."""
    return float(psutil.Process(process).memory_info().rss / 1e9)


def main(
    photo: Annotated[Path | None, typer.Argument(help="A JPEG")] = None,
    litserve: Annotated[Path | None, typer.Option(help="Python of an environment that has litserve, too")] = None,
    model: Annotated[Path, typer.Option(help="JSON of the cnn stage")] = Path("models/plain.json"),
    calls: Annotated[int, typer.Option(min=10, help="Calls of each at concurrency 1")] = 300,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each at concurrency 8")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Length of a round")] = 5,
) -> None:
    """Print a table."""
    photo = photo or min(
        (ROOT / "data/anonymous").glob("*.jpg"), key=lambda path: abs(path.stat().st_size - KILOBYTES * 1000)
    )
    content = photo.read_bytes()
    body = json.dumps({"instances": [{"b64": base64.b64encode(content).decode()}]}).encode()
    ports = {"ours": free_port()}
    ours = [sys.executable, "src/serve.py", "--model", str(model), "--unchecked", "--port", str(ports["ours"])]
    with contextlib.ExitStack() as stack:
        process, ready = stack.enter_context(running(ours, ports["ours"], "/v2/health/ready"))
        at_ready = resident(process)
        for batch in (1, 8) if litserve else ():
            name = f"LitServe, batches of {batch}"
            ports[name], PATHS[name] = free_port(), "/predict"
            command = [str(litserve), "bench/litserver.py", str(model), str(ports[name]), str(batch)]
            stack.enter_context(running(command, ports[name], "/health"))
        print(f"{photo.name}, {len(content) / 1000:.0f} KB; ours ready in {ready:.1f} s, then {at_ready:.2f} GB")
        explain(ports["ours"], content)  # waits for the training photos: else reading them would be measured, too
        latencies(model, content, ports, body, calls)
        print(f"ours, after that: {resident(process):.2f} GB resident, {memory.held(process):.2f} GB proportional")
        found = defaultdict(list)
        for _ in range(rounds):
            for name, port in ports.items():
                found[name].append(a_second(port, PATHS[name], body, 8, seconds))
        for name, values in found.items():
            ratio = np.array(found["ours"]) / values
            print(
                f"{name:24}{np.median(values):8.1f} photos/s at 8; ours is {np.median(ratio):.2f} of it [{ratio.min():.2f}, {ratio.max():.2f}]"
            )
        print(f"ours, after that: {resident(process):.2f} GB resident, {memory.held(process):.2f} GB proportional")


def latencies(model: Path, content: bytes, ports: dict[str, int], body: bytes, calls: int) -> None:
    """Medians of one photo at a time: the bare model in this process, then each server, call by call in turn."""
    from landmarks.deep import classifier
    from landmarks.serving import predictor

    loaded = predictor.load(ROOT / model, None, threads=1)  # as the server: with two a call takes no less
    bare = classifier.load(ROOT / model)
    square = loaded.square(content)
    asked: dict[str, Callable[[], object]] = {
        "bare model call": lambda: bare.probabilities(square[None]),
        "the same, compiled": lambda: loaded.run(square[None]),
        "decoding": lambda: loaded.square(content),
        "decoding and bare call": lambda: bare.probabilities(loaded.square(content)[None]),
        **{name: Client(port, PATHS[name], body).ask for name, port in ports.items()},
    }
    taken = defaultdict(list)
    for call in range(calls + 20):
        for name, function in asked.items():
            took = seconds_of(function)
            if call >= 20:  # the first ones find caches empty
                taken[name].append(1000 * took)
    for name, values in taken.items():
        low, middle, high = np.percentile(values, [5, 50, 95])
        ratio = middle / np.median(taken["bare model call"])
        whole = middle / np.median(taken["decoding and bare call"])
        print(
            f"{name:24}{middle:8.2f} ms [{low:.2f}, {high:.2f}]  {ratio:.2f} of the bare call, {whole:.2f} of decoding and bare call"
        )


if __name__ == "__main__":
    typer.run(main)
