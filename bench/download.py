"""Photos over HTTP: our fetcher, the thesis' loop and, where its Python is given, img2dataset; interleaved, a core each.

python bench/download.py run [--photos FOLDER] [--peer .../bin/python] [--rounds N]

A server on loopback has one core, the client the other. Only the fetching is timed, not the start of Python. The peer is
img2dataset 1.47 (`pip install img2dataset==1.47` into an environment of its own), one process, without re-encoding where
photos are kept as they come.
"""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
PORT = 8797
BASE = f"http://127.0.0.1:{PORT}"
# 30 faulty URLs: what they are, and whether a photo comes of them
FAULTS = {"gone": False, "missing": False, "refused": False, "html": False, "half": False, "pdf": False, "busy": True,
          "moved": True, "loop": False, "broken": False}  # fmt: skip
PEER = """
import glob, json, sys, time
import img2dataset, pandas
if __name__ == "__main__":
    urls, folder, side, threads = sys.argv[1:]
    kept = {"resize_mode": "no", "disable_all_reencoding": True} if side == "0" else {
        "resize_mode": "keep_ratio_largest", "image_size": int(side), "resize_only_if_bigger": True}
    img2dataset.download(url_list=urls, input_format="csv", output_folder=folder, output_format="files", processes_count=1,
                         thread_count=int(threads), number_sample_per_shard=10000, extract_exif=False, retries=2, timeout=5, **kept)
    stats = json.load(open(glob.glob(folder + "/*_stats.json")[0]))
    print(json.dumps({"seconds": stats["end_time"] - stats["start_time"]}))
"""


def healthy(folder: Path | None, count: int = 40) -> list[bytes]:
    """JPEGs of 1.2 to 1.9 megapixels, from a folder's photos or the synthetic demo dataset's."""
    import cv2
    import numpy as np

    from landmarks.demo import renderer

    if folder:
        files = sorted(folder.rglob("*.jpg"))
        contents = [path.read_bytes() for path in files[:: max(len(files) // count, 1)][:count]]
    else:
        contents = [renderer.photo(0, 1 + n % 10, n) for n in range(count)]
    made = []
    for n, content in enumerate(contents):
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        scale = ((1.2e6 + 0.7e6 * (n % 8) / 7) / (picture.shape[0] * picture.shape[1])) ** 0.5
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        made.append(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
    return made


class Server(asyncio.Protocol):
    """As little HTTP as a fast server needs; ``/log`` tells and forgets what was asked."""

    bodies: ClassVar[list[bytes]] = []
    asked: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport: Any) -> None:
        """Remember where to write."""
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            code, headers, body = self.answer(path)
            lines = "".join(f"{key}: {value}\r\n" for key, value in {**headers, "Content-Length": len(body)}.items())
            self.transport.write(f"HTTP/1.1 {code} x\r\n{lines}\r\n".encode())
            self.transport.write(body)

    def answer(self, path: str) -> tuple[int, dict[str, Any], bytes]:
        """Code, headers and body."""
        jpeg = {"Content-Type": "image/jpeg"}
        if path == "/log":
            told = json.dumps(self.asked).encode()
            self.asked.clear()
            return 200, {}, told
        self.asked[path] += 1
        kind, number = [*path.strip("/").split("/"), "0"][:2]
        body = self.bodies[int(number.split(".")[0]) % len(self.bodies)]
        if kind == "photo" or (kind == "busy" and self.asked[path] > 1):
            return 200, jpeg, body
        if kind in ("moved", "loop"):
            return 302, {"Location": path if kind == "loop" else path.replace("moved", "photo")}, b""
        if kind in ("html", "half", "pdf"):
            return 200, jpeg, {"html": b"<html>gone</html>", "half": body[: len(body) // 2], "pdf": b"%PDF-1.4"}[kind]
        codes = {"gone": 410, "refused": 403, "busy": 429, "broken": 500}
        return codes.get(kind, 404), {"Retry-After": 0} if kind == "busy" else {}, b"no"


@app.command(hidden=True)
def serve(photos: str) -> None:
    """Serve until killed."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    Server.bodies = healthy(Path(photos) if photos else None)
    print(sum(map(len, Server.bodies)) // len(Server.bodies), flush=True)

    async def forever() -> None:
        await (await asyncio.get_running_loop().create_server(Server, "127.0.0.1", PORT)).serve_forever()

    asyncio.run(forever())


@app.command(hidden=True)
def ours(urls: Path, folder: Path, side: int, threads: int) -> None:
    """The download stage's own work."""
    import cv2
    import pandas as pd

    import stage
    from landmarks.common.result_cache import ResultCache
    from landmarks.download import collection, fetcher

    cv2.setNumThreads(1)
    table = pd.read_csv(urls, dtype=str)
    sample = pd.DataFrame({"id": table.index.astype(str), "url": table["url"], "landmark_id": "1", "reserve": "0"})
    os.environ[fetcher.CONNECTIONS] = str(threads)
    settings = stage.block("download", fetcher.FetchSettings, loopback=True, per_host=threads, long_side=side)
    begin = time.perf_counter()
    with ResultCache(folder / "cache.sqlite") as cache:
        collection.Collection(sample=sample, folder=folder / "images", settings=settings, cache=cache).collect()
    print(json.dumps({"seconds": time.perf_counter() - begin}))


@app.command(hidden=True)
def thesis(urls: Path, folder: Path, side: int, threads: int) -> None:
    """One photo after the other; what raises is left out."""
    import cv2
    import numpy as np
    import pandas as pd
    import requests

    cv2.setNumThreads(1)
    (folder / "images").mkdir(parents=True)
    begin = time.perf_counter()
    for n, url in enumerate(pd.read_csv(urls)["url"]):
        try:
            content = requests.get(url, timeout=30).content
            if side:
                picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
                scale = side / max(picture.shape[:2])
                picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                content = cv2.imencode(".jpg", picture)[1].tobytes()
            (folder / "images" / f"{n}.jpg").write_bytes(content)
        except Exception:  # noqa: S112 - as in the notebook
            continue
    print(json.dumps({"seconds": time.perf_counter() - begin}))


def client(name: str, peer: str, urls: Path, side: int, threads: int, out: Path) -> tuple[float, int]:
    """Run one side on a core of its own: seconds, and photos kept that OpenCV reads to the end."""
    shutil.rmtree(out, ignore_errors=True)
    script = out.with_suffix(".py")
    script.write_text(PEER)
    start = [peer, str(script)] if name == "img2dataset" else [sys.executable, __file__, name]
    core = min(os.sched_getaffinity(0))
    done = subprocess.run(
        [*start, str(urls), str(out), str(side), str(threads)], capture_output=True, text=True, check=True, cwd=ROOT,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"]), len(list(out.rglob("*.jpg")))


@app.command()
def run(
    photos: Annotated[
        Path | None, typer.Option(help="Folder of JPEGs to serve, else the synthetic demo dataset's")
    ] = None,
    peer: Annotated[str, typer.Option(help="Python of an environment with img2dataset 1.47")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the median counts")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Connections")] = 4,
    folder: Annotated[Path | None, typer.Option(help="Where photos are written (/dev/shm leaves the disk out)")] = None,
) -> None:
    """Print photos a second of each side, and what each makes of 30 faulty URLs."""
    import requests

    names = ["ours", "thesis", *(["img2dataset"] if peer else [])]
    server = subprocess.Popen(
        [sys.executable, __file__, "serve", str(photos or "")], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert server.stdout  # noqa: S101 - PIPE gives one
        print(f"{int(server.stdout.readline()):,} bytes a photo; {threads} connections; median of {rounds} rounds")
        time.sleep(0.5)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            urls, out = Path(place) / "urls.csv", Path(place) / "out"

            def write(addresses: list[str]) -> None:
                urls.write_text("url\n" + "".join(f"{BASE}/{address}\n" for address in addresses))

            for side in (0, 256):
                write([f"photo/{n}.jpg" for n in range(400)])
                speeds = _interleaved(
                    names, rounds, partial(client, peer=peer, urls=urls, side=side, threads=threads, out=out)
                )
                print(f"400 healthy photos, {f'at {side} px' if side else 'as they come'}:")
                for name in names:
                    ratio = statistics.median(a / b for a, b in zip(speeds["ours"], speeds[name], strict=True))
                    print(f"  {name:12} {statistics.median(speeds[name]):6.0f} a second   ours / it {ratio:.2f}")
            write([f"{kind}/{n}.jpg" for kind in FAULTS for n in range(3)])
            print(f"30 faulty URLs, {sum(FAULTS.values()) * 3} of which give a photo in the end:")
            for name in names:
                requests.get(f"{BASE}/log", timeout=5)
                _, kept = client(name, peer, urls, 0, threads, out)
                asked = Counter(requests.get(f"{BASE}/log", timeout=5).json())
                asked.pop("/robots.txt", None)
                wrong = abs(kept - sum(FAULTS.values()) * 3)
                print(f"  {name:12} {kept:3} kept, {wrong} wrong, {asked.total()} requests")
    finally:
        server.kill()


def _interleaved(names: list[str], rounds: int, measure: Callable[[str], tuple[float, int]]) -> dict[str, list[float]]:
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            seconds, kept = measure(name)
            speeds[name].append(kept / seconds)
    return speeds


if __name__ == "__main__":
    app()
