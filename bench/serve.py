"""Benchmark of the server: latency beside that of the bare model, throughput beside LitServe's, memory, time to ready.

python bench/serve.py [PHOTO] [--litserve PYTHON]   after `make repro`

PHOTO: a JPEG; if none is given, the photo of the synthetic demo dataset whose size is nearest to 170 KB. PYTHON: that of an
environment with litserve and all of requirements.lock; without it, LitServe is left out. Rounds are interleaved, so that other
load on the machine affects all servers alike.
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

PATHS = {"ours": "/v1/models/landmarks:predict"}
KILOBYTES = 170


class Client:
    """A keep-alive connection that sends the same photo."""

    def __init__(self, port: int, path: str, body: bytes) -> None:
        self.connection, self.path, self.body = http.client.HTTPConnection("127.0.0.1", port, timeout=60), path, body

    def predict(self) -> float:
        """The confidence in the response."""
        self.connection.request("POST", self.path, self.body, {"Content-Type": "application/json"})
        reply = self.connection.getresponse()
        content = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{self.path}: {reply.status} {content[:200]!r}")
        return float(json.loads(content)["predictions"][0]["confidence"])


def free_port() -> int:
    """A free port."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, ready: str) -> Iterator[tuple[int, float]]:
    """Start a server; its process id, and the seconds until its path ``ready`` answered 200."""
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


def throughput(port: int, path: str, body: bytes, clients: int, seconds: float) -> tuple[int, float]:
    """Photos, and photos a second, with ``clients`` at once."""
    end = time.perf_counter() + seconds

    def work(_: int) -> int:
        client, count = Client(port, path, body), 0
        while time.perf_counter() < end:
            client.predict()
            count += 1
        return count

    with ThreadPoolExecutor(clients) as pool:
        begin = time.perf_counter()
        photos = sum(pool.map(work, range(clients)))
        return photos, photos / (time.perf_counter() - begin)


def explain(port: int, content: bytes) -> None:
    """Request explanations until one has similar photos: the server then builds no index beside what is measured."""
    while True:
        reply = requests.post(f"http://127.0.0.1:{port}/v1/explain", files={"photo": content}, timeout=60)
        reply.raise_for_status()
        if reply.json()["similar"]:
            return
        time.sleep(1)


def spent(process: int) -> float:
    """CPU time of a process and of those that it started, in all threads, seconds."""
    first = psutil.Process(process)
    return float(sum(sum(each.cpu_times()[:2]) for each in (first, *first.children(recursive=True))))


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
        process, ready = stack.enter_context(running(ours, ports["ours"], "/health/ready"))
        at_ready, processes = resident(process), {"ours": process}
        for batch in (1, 8) if litserve else ():
            name = f"LitServe, batches of {batch}"
            ports[name], PATHS[name] = free_port(), "/predict"
            command = [str(litserve), "bench/litserver.py", str(model), str(ports[name]), str(batch)]
            processes[name], _ = stack.enter_context(running(command, ports[name], "/health"))
        print(f"{photo.name}, {len(content) / 1000:.0f} KB; ours ready in {ready:.1f} s, then {at_ready:.2f} GB")
        explain(ports["ours"], content)
        latencies(model, content, ports, body, calls)
        print(f"ours, after that: {resident(process):.2f} GB resident, {memory.held(process):.2f} GB proportional")
        rates, costs = defaultdict(list), defaultdict(list)
        for _ in range(rounds):
            for name, port in ports.items():
                begin = spent(processes[name])
                photos, rate = throughput(port, PATHS[name], body, 8, seconds)
                rates[name].append(rate)
                costs[name].append(1000 * (spent(processes[name]) - begin) / photos)
        for name, values in rates.items():
            ratio = np.array(rates["ours"]) / values
            print(
                f"{name:24}{np.median(values):8.1f} photos/s at 8; ours is {np.median(ratio):.2f} of it [{ratio.min():.2f}, {ratio.max():.2f}]; "
                f"{np.median(costs[name]):.1f} ms of CPU a photo"
            )
        print(f"ours, after that: {resident(process):.2f} GB resident, {memory.held(process):.2f} GB proportional")


def latencies(model: Path, content: bytes, ports: dict[str, int], body: bytes, calls: int) -> None:
    """Print medians for one photo at a time: of the bare model in this process and of each server, in turn."""
    from landmarks.deep import classifier
    from landmarks.serving import predictor

    loaded = predictor.load(ROOT / model, lock=None, threads=1)  # as the server; two threads are no faster per call
    bare = classifier.load(ROOT / model)
    picture = loaded.preprocess(content)
    functions: dict[str, Callable[[], object]] = {
        "bare model call": lambda: bare.probabilities(picture[None]),
        "the same, compiled": lambda: loaded.forward(picture[None]),
        "decoding": lambda: loaded.preprocess(content),
        "decoding and bare call": lambda: bare.probabilities(loaded.preprocess(content)[None]),
        **{name: Client(port, PATHS[name], body).predict for name, port in ports.items()},
    }
    milliseconds = defaultdict(list)
    for call in range(calls + 20):
        for name, function in functions.items():
            duration = seconds_of(function)
            if call >= 20:  # warm-up
                milliseconds[name].append(1000 * duration)
    for name, values in milliseconds.items():
        low, middle, high = np.percentile(values, [5, 50, 95])
        ratio = middle / np.median(milliseconds["bare model call"])
        whole = middle / np.median(milliseconds["decoding and bare call"])
        print(
            f"{name:24}{middle:8.2f} ms [{low:.2f}, {high:.2f}]  {ratio:.2f} of the bare call, {whole:.2f} of decoding and bare call"
        )


if __name__ == "__main__":
    typer.run(main)
