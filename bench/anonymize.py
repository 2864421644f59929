"""The privacy gate, measured: faces covered, photos a second beside deface, what attacks restore, what it costs a classifier.

python bench/anonymize.py recall FOLDER       FOLDER/boxes.csv (file,x,y,w,h, pixels, upright) and FOLDER/images/
python bench/anonymize.py restore FOLDER      the same folder
python bench/anonymize.py speed FOLDER --deface .../bin/deface
python bench/anonymize.py utility IMAGES LISTING [--module M --size N]     LISTING: data/photos.csv of a run
"""

import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import cv2
import memory
import numpy as np
import typer
from numpy.typing import NDArray
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

from landmarks.images import decoding  # noqa: E402 - needs the path
from landmarks.privacy import face_detectors, redaction  # noqa: E402 - needs the path

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Boxes = dict[str, list[tuple[float, float, float, float]]]
HALF, MARGIN, SIDE = 0.5, 0.15, 64
Folder = Annotated[Path, typer.Argument(help="Folder with boxes.csv and images/")]


def boxed(folder: Path) -> Boxes:
    """The boxed faces of each photo."""
    found: Boxes = defaultdict(list)
    with (folder / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["file"]].append((float(row["x"]), float(row["y"]), float(row["w"]), float(row["h"])))
    return found


def covered(box: tuple[float, float, float, float], found: list[redaction.Face]) -> bool:
    """Does one detection, with its margin, cover half of the box?"""
    x, y, w, h = box
    for face in found:
        pad_x, pad_y = face.w * MARGIN, face.h * MARGIN
        wide = min(x + w, face.x + face.w + pad_x) - max(x, face.x - pad_x)
        high = min(y + h, face.y + face.h + pad_y) - max(y, face.y - pad_y)
        if max(wide, 0) * max(high, 0) >= HALF * w * h:
            return True
    return False


@app.command()
def recall(
    folder: Folder, models: Annotated[str, typer.Option(help="Folder of the model files of yunet and ssd")] = ""
) -> None:
    """Share of boxed faces covered at least half, upright and turned, by detector; the thesis' looks once, upright."""
    boxes = boxed(folder)
    once: dict[str, Any] = {"sizes": (300,), "turned": 0}
    sides: dict[str, tuple[Any, float, dict[str, Any]]] = {
        "thesis: ssd .5, one look": ("ssd", 0.5, once), "default: centerface .3": ("centerface", 0.3, {}),
        "yunet .3": ("yunet", 0.3, {}), "strict .3": ("strict", 0.3, {}),
    }  # fmt: skip
    print(
        f"{sum(map(len, boxes.values()))} faces in {len(boxes)} photos; covered at least half at 0, 90, 180, 270 degrees"
    )
    for label, (name, confidence, knobs) in sides.items():
        shares = []
        for turns in range(4):
            hits = []
            for file, known in boxes.items():
                picture = decoding.read(folder / "images" / file)
                height, width = picture.shape[:2]
                turned = np.ascontiguousarray(np.rot90(picture, turns))
                seen = face_detectors.detect(turned, confidence, name, models, **knobs)
                back = [redaction.turn_back(face, turns, width, height) for face in seen]
                hits += [covered(box, back) for box in known]
            shares.append(float(np.mean(hits)))
        print(f"  {label:26}", "  ".join(f"{share:.3f}" for share in shares))


@app.command()
def speed(
    folder: Annotated[Path, typer.Argument(help="Folder of JPEGs")],
    deface: Annotated[str, typer.Option(help="The command deface 1.5, in an environment of its own, with onnxruntime")],
    count: Annotated[int, typer.Option(help="Photos")] = 100,
    rounds: Annotated[int, typer.Option(help="Rounds, interleaved; the median counts")] = 3,
) -> None:
    """Photos a second of both commands from start to end: CenterFace, one look at full size, a mosaic."""
    files = sorted(folder.rglob("*.jpg"))
    files = files[:: max(len(files) // count, 1)][:count]
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "in"
        source.mkdir()
        for n, file in enumerate(files):
            (source / f"{n}.jpg").write_bytes(file.read_bytes())
        ours = [sys.executable, "src/anonymize.py", str(source)]
        alike = ["--sizes", "4096", "--turned", "0", "--recheck", "0.3", "--shape", "ellipse"]
        speeds: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for turn in range(rounds):
            theirs = Path(place) / f"deface{turn}"  # it writes beside what it reads
            shutil.copytree(source, theirs)
            for name, command in {
                "deface": [deface, str(theirs), "--thresh", "0.3", "--replacewith", "mosaic"],
                "ours, alike, 2 workers": [*ours, f"{place}/alike{turn}", *alike],
                "ours, default": [*ours, f"{place}/ours{turn}"],
            }.items():
                speeds[name].append(timed(command, len(files)))
    for name, measured in speeds.items():
        ratio = statistics.median(a[0] / b[0] for a, b in zip(measured, speeds["deface"], strict=True))
        rate, peak = statistics.median(m[0] for m in measured), max(m[1] for m in measured)
        print(f"  {name:24} {rate:5.2f} photos a second   {ratio:.2f} x deface   {peak:.2f} GB at the peak")


def timed(command: list[str], count: int) -> tuple[float, float]:
    """Photos a second, and the largest memory of all its processes together (shared pages shared out), GB."""
    begin, peak = time.perf_counter(), 0.0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "LANDMARKS_WORKERS": "2"}, start_new_session=True) as run:  # fmt: skip
        while run.poll() is None:
            peak = max(peak, memory.held(run.pid))
            time.sleep(0.2)
        if run.returncode:
            raise SystemExit(run.stderr.read() if run.stderr else "failed")
    return count / (time.perf_counter() - begin), peak


@app.command()
def restore(folder: Folder, rounds: Annotated[int, typer.Option(help="Draws of the noise")] = 20) -> None:
    """How many obscured faces an attacker tells who has photos of all of them, by the nearest face, in percent.

    Directly, by pixels, by gradients (HOG) and by texture (LBP); and after a least-squares inverse that was learnt on the
    other half of the faces. Chance is 1 in as many as there are faces. ``mosaic`` is the thesis' pixelation: the face's own
    colours in 5 x 5 squares.
    """
    crops = []
    for file, known in boxed(folder).items():
        picture = decoding.read(folder / "images" / file)
        for x, y, w, h in known:
            left, top = max(int(x), 0), max(int(y), 0)
            box = redaction.Face(left, top, int(x + w) - left, int(y + h) - top, 1.0)
            crops.append((picture, box))
    originals = [crop(picture, box) for picture, box in crops]
    gallery = [features(face) for face in originals]
    count = len(crops)
    print(f"{count} faces; chance {100 / count:.2f} %, 1.5 times chance {150 / count:.2f} %")
    for method in ("pixelate", "solid", "blur", "mosaic"):
        told: dict[str, list[float]] = defaultdict(list)
        for draw in range(rounds if method == "pixelate" else 1):  # the others leave nothing to chance
            hidden = [crop(obscured(picture, box, method, draw), box) for picture, box in crops]
            seen = [features(face) for face in hidden]
            for kind in gallery[0]:
                told[kind].append(100 * matches([g[kind] for g in gallery], [s[kind] for s in seen]))
            told["inverse"] += [100 * inverse(originals, hidden, seed) for seed in range(5)]
        print(f"  {method:9}", "  ".join(f"{kind} {np.mean(shares):5.2f}" for kind, shares in told.items()))


def obscured(picture: decoding.Picture, box: redaction.Face, method: str, draw: int) -> decoding.Picture:
    """One face of a photo hidden by a method of ours, or by the thesis' mosaic; ``draw`` makes it another photo, by a pixel."""
    picture = picture.copy()
    picture[box.y, box.x, 0] ^= np.uint8(draw)
    if method != "mosaic":
        return redaction.obscure(picture, [box], method, 0.0, 5)  # type: ignore[arg-type] # one of its three
    done = picture.copy()
    region = done[box.y : box.y + box.h, box.x : box.x + box.w]
    small = cv2.resize(region, (5, 5), interpolation=cv2.INTER_AREA)
    region[:] = cv2.resize(small, region.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return done


def crop(picture: decoding.Picture, box: redaction.Face) -> decoding.Picture:
    """A face at a common size: uint8 (64, 64, 3)."""
    region = picture[box.y : box.y + box.h, box.x : box.x + box.w]
    return np.asarray(cv2.resize(region, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def features(face: decoding.Picture) -> dict[str, NDArray[np.float64]]:
    """What faces are compared by."""
    from skimage.feature import hog, local_binary_pattern

    grey = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    codes = local_binary_pattern(grey, 8, 1, "uniform")  # type: ignore[no-untyped-call]  # scikit-image has no types
    cells = [codes[i : i + 16, j : j + 16] for i in range(0, SIDE, 16) for j in range(0, SIDE, 16)]
    texture = np.concatenate([np.histogram(cell, 10, (0, 10))[0] for cell in cells])
    level = (grey - grey.mean()) / (grey.std() + 1e-3)
    return {"colour": face.astype(float).ravel(), "grey": level.ravel(), "hog": hog(grey, 8, (8, 8), (2, 2)),
            "lbp": texture.astype(float)}  # fmt: skip


def matches(gallery: list[NDArray[np.float64]], seen: list[NDArray[np.float64]]) -> float:
    """Share of rows whose nearest row in the gallery is their own; ties are split."""
    known, probes = np.stack(gallery), np.stack(seen)
    distances = (probes**2).sum(1)[:, None] - 2 * probes @ known.T + (known**2).sum(1)
    least = distances <= distances.min(1, keepdims=True) + 1e-6
    return float(np.mean(np.diagonal(least) / least.sum(1)))


def inverse(originals: list[decoding.Picture], hidden: list[decoding.Picture], seed: int) -> float:
    """The share told of one half, after a ridge regression from hidden to original pixels on the other half."""
    order = np.random.default_rng(seed).permutation(len(originals))
    learn, attack = order[::2], order[1::2]
    small = [cv2.resize(face, (16, 16), interpolation=cv2.INTER_AREA).astype(float).ravel() / 255 for face in hidden]
    whole = [cv2.resize(face, (16, 16), interpolation=cv2.INTER_AREA).astype(float).ravel() / 255 for face in originals]
    x, y = np.stack([small[i] for i in learn]), np.stack([whole[i] for i in learn])
    mean_x, mean_y = x.mean(0), y.mean(0)
    gram = (x - mean_x) @ (x - mean_x).T + 1.0 * np.eye(len(learn))
    weights = (x - mean_x).T @ np.linalg.solve(gram, y - mean_y)
    restored = (np.stack([small[i] for i in attack]) - mean_x) @ weights + mean_y
    return matches([whole[i] for i in attack], list(restored)) * len(attack) / len(originals)  # as if told among all


@app.command()
def utility(
    images: Annotated[Path, typer.Argument(help="Folder of the download stage")],
    listing: Annotated[Path, typer.Argument(help="Its photos.csv")],
    module: Annotated[str, typer.Option(help="TF-Hub handle or SavedModel folder")] = "data/demo/backbone",
    size: Annotated[int, typer.Option(help="Its input size")] = 128,
    seeds: Annotated[int, typer.Option(help="Splits")] = 3,
    work: Annotated[
        Path | None, typer.Option(help="Folder that keeps what was made, so that a broken run goes on")
    ] = None,
) -> None:
    """Test accuracy of a frozen network with a linear head and of naive Bayes on KAZE, with and without obscured faces."""
    with tempfile.TemporaryDirectory() as place:
        out = work or Path(place)
        methods: dict[str, Path] = {name: out / name / "anonymous" for name in ("none", "blur", "pixelate", "solid")}
        for method in tqdm(list(methods)[1:], desc="methods"):
            stage("anonymize", images, methods[method], listing, out / f"{method}.json", out / f"{method}.csv",
                  out / f"{method}.png", "--method", method, "--max-quarantined", 1000)  # fmt: skip
        shutil.copytree(images, methods["none"], dirs_exist_ok=True)
        passed = set.intersection(*({file.name for file in folder.glob("*.jpg")} for folder in methods.values()))
        for folder in methods.values():  # the same photos for all: those that pass with every method
            for file in folder.glob("*.jpg"):
                if file.name not in passed:
                    file.unlink()
        print(f"{len(passed)} photos pass with every method")
        scores: dict[str, dict[str, list[float]]] = {m: defaultdict(list) for m in methods}
        for method, folder in methods.items():
            described = out / f"{method}.arrow"
            stage("keypoints", listing, folder, described, out / "k.png", out / "k.json",
                  "--count", 32, "--long-side", 512)  # fmt: skip
            for seed in range(seeds):
                split = out / f"split{seed}.csv"
                if method == "none":
                    stage("split", listing, folder, split, out / "split.json", "--seed", seed)
                stage("baseline", described, split, out / "m.skops", out / "p.csv",
                      "--encoding", "flat", "--kind", "bayes")  # fmt: skip
                scores[method]["bayes"].append(accuracy(out / "p.csv", split))
                stage("cnn", folder, split, out / "c.json", out / "h.csv", out / "p.csv", "--module", module, "--size", size,
                      "--no-trainable", "--no-augment", "--crop", "--seed", seed)  # fmt: skip
                scores[method]["cnn"].append(accuracy(out / "p.csv", split))
        print(f"test accuracy, mean and sd over {seeds} splits, the same for every method")
        for method, of in scores.items():
            told = (f"{name} {np.mean(values):.3f} +- {np.std(values):.3f}" for name, values in of.items())
            print(f"  {method:9}", "  ".join(told))


def stage(name: str, *arguments: object) -> None:
    """Run a stage script."""
    done = subprocess.run(
        [sys.executable, f"src/{name}.py", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])


def accuracy(predictions: Path, split: Path) -> float:
    """Top-1 on the test part."""
    import pandas as pd

    table = pd.read_csv(predictions, dtype=str).merge(pd.read_csv(split, dtype=str)[["id", "split"]], on="id")
    test = table[table["split"] == "test"]
    return float((test["actual"] == test["predicted"]).mean())


if __name__ == "__main__":
    app()
