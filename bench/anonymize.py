"""The privacy gate, measured: faces covered, photos a second beside deface, what attacks restore, what it costs a classifier.

What is written counts: every figure of faces comes from the files that the command wrote.

python bench/anonymize.py recall FOLDER       FOLDER/boxes.csv (file,x,y,w,h, pixels, upright) and FOLDER/images/
python bench/anonymize.py groups FOLDER PHOTOS [--large]      heads of the same folder, pasted into photos
python bench/anonymize.py harm PHOTOS         photos of landmarks
python bench/anonymize.py restore FOLDER      the same folder
python bench/anonymize.py speed PHOTOS --deface .../bin/deface
python bench/anonymize.py utility IMAGES LISTING [--module M]     LISTING: data/photos.csv of a run
"""

import csv
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import crowds
import cv2
import memory
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

from landmarks.dataset import prediction_files, tables  # noqa: E402 - needs the path
from landmarks.images import decoding  # noqa: E402 - needs the path
from landmarks.privacy import redaction  # noqa: E402 - needs the path

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Boxes = dict[str, list[tuple[float, float, float, float]]]
HALF, CHANGED, SIDE = 0.5, 24, 64
HEADS = (12, 16, 20, 24, 30, 36, 42, 48, 56, 64, 72, 84, 96)  # heights, pixels
SIDES = {
    "default": [], "strict": ["--detector", "strict"],
    "thesis": ["--detector", "ssd", "--sizes", "300", "--turned", "0", "--confidence", "0.5", "--recheck", "0.5"],
}  # fmt: skip
Folder = Annotated[Path, typer.Argument(help="Folder with boxes.csv and images/")]


def boxed(folder: Path) -> Boxes:
    """The boxed faces of each photo."""
    found: Boxes = defaultdict(list)
    with (folder / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["file"]].append((float(row["x"]), float(row["y"]), float(row["w"]), float(row["h"])))
    return found


def covered(before: decoding.Picture, after: decoding.Picture, box: tuple[float, float, float, float]) -> bool:
    """Are half of the pixels of a box others than before? What JPEG changes is far below ``CHANGED``."""
    x, y, w, h = (round(side) for side in box)
    part = np.s_[max(y, 0) : y + h, max(x, 0) : x + w]
    changed = np.abs(before[part].astype(int) - after[part]).max(axis=2) > CHANGED
    return float(changed.mean()) >= HALF


def command_of(side: str, source: Path, out: Path, deface: str, models: str) -> list[str]:
    """Return the command of a side; ``deface`` writes beside what it reads, so it reads a copy, ``out``."""
    if side == "deface":
        shutil.copytree(source, out)
        return [deface, str(out), "--thresh", "0.3", "--replacewith", "mosaic"]
    ours = [sys.executable, "src/anonymize.py", str(source), str(out), "--max-quarantined", "100000"]
    return [*ours, *SIDES[side], *(["--models", models] if side == "thesis" and models else [])]


def written(
    side: str, photos: dict[str, crowds.Crowd], deface: str, models: str, tags: bool = False
) -> list[tuple[int, bool]]:
    """Whether each box is covered in what a side wrote, with its longer side, pixels; ``tags``: photos lie, and EXIF says how.

    A photo that was not written counts as covered.
    """
    found = []
    with tempfile.TemporaryDirectory() as place:
        source, out = Path(place) / "in", Path(place) / "out"
        source.mkdir()
        for n, (name, photo) in enumerate(photos.items()):
            exif, picture = Image.Exif(), photo.picture
            if tags:
                exif[0x0112], picture = ((6, 1), (3, 2), (8, 3))[n % 3][0], np.rot90(picture, (n % 3) + 1)
            Image.fromarray(picture[..., ::-1]).save(source / f"{name}.jpg", quality=95, exif=exif)
        command = command_of(side, source, out, deface, models)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        for name, photo in photos.items():
            path = out / (f"{name}_anonymized.jpg" if side == "deface" else f"{name}.jpg")
            before = decoding.read(source / f"{name}.jpg")
            after = decoding.read(path) if path.is_file() else ~before
            found += [(round(max(box[2:])), covered(before, after, box)) for box in photo.boxes]
    return found


DefaceOption = Annotated[
    str, typer.Option(help="The command deface 1.5, in an environment of its own, with onnxruntime")
]
ModelsOption = Annotated[str, typer.Option(help="Folder of the model files of ssd")]
SidesOption = Annotated[
    list[str] | None, typer.Option("--side", help="Sides: default, strict, thesis, deface [default]")
]


@app.command()
def recall(
    folder: Folder, side: SidesOption = None, deface: DefaceOption = "deface", models: ModelsOption = ""
) -> None:
    """Share of boxed faces that are covered in what was written: photos as they are, turned, and turned with an EXIF tag."""
    boxes = boxed(folder)
    upright = {
        Path(file).stem: crowds.Crowd(decoding.read(folder / "images" / file), known) for file, known in boxes.items()
    }
    print(
        f"{sum(map(len, boxes.values()))} faces in {len(boxes)} photos; covered at 0, 90, 180, 270 degrees; with EXIF tags"
    )
    for each in side or ["default"]:
        photos, shares = upright, []
        for _ in range(4):
            shares.append(np.mean([hit for _, hit in written(each, photos, deface, models)]))
            photos = {name: crowds.lying(photo) for name, photo in photos.items()}
        tagged = (
            [] if each == "deface" else [np.mean([hit for _, hit in written(each, upright, deface, models, tags=True)])]
        )
        print(f"  {each:10}", "  ".join(f"{share:.3f}" for share in [*shares, *tagged]), flush=True)


@app.command()
def groups(
    folder: Folder,
    backgrounds: Annotated[Path, typer.Argument(help="Folder of JPEGs without people, at least 1000 pixels wide")],
    side: SidesOption = None, deface: DefaceOption = "deface", models: ModelsOption = "",
    count: Annotated[int, typer.Option(help="Photos of each kind")] = 12,
    large: Annotated[bool, typer.Option(help="Photos of 6000 x 4000 with forty faces of 24, 36, 48 and 64 pixels")] = False,
) -> None:  # fmt: skip
    """Share of pasted heads that are covered in what was written, by height: photos of 2000 x 1500, 39 heads of 12 to 96 pixels."""
    heads = []
    for file, known in boxed(folder).items():
        picture = decoding.read(folder / "images" / file)
        inside = [box for box in known if min(box[:2]) >= 0 and box[0] + box[2] <= picture.shape[1] and box[3] >= 60]
        heads += [crowds.head(picture, box) for box in inside if box[1] + box[3] <= picture.shape[0]]
    wide = [file for file in sorted(backgrounds.rglob("*.jpg")) if Image.open(file).size[0] >= 1000]
    views = [decoding.read(wide[place]) for place in np.random.default_rng(0).permutation(len(wide))[: max(count, 4)]]
    for each in side or ["default"]:
        for kind in ("upright", "lying") if large else ("upright", "lying", "tilted"):
            photos = {}
            for n in range(4 if large else count):
                sizes = [(24, 36, 48, 64)[n]] * 40 if large else list(HEADS) * 3
                view = cv2.resize(views[n], (6000, 4000) if large else (2000, 1500), interpolation=cv2.INTER_CUBIC)
                made = crowds.crowd(view, heads, sizes, n, tilt=45 if kind == "tilted" else 0)
                photos[str(n)] = crowds.lying(made) if kind == "lying" else made
            found = written(each, photos, deface, models)
            of_size = {
                at: [hit for size, hit in found if at <= size < up] for at, up in pairwise((12, 24, 36, 48, 64, 999))
            }
            shares = (f"{at}+: {sum(hits)}/{len(hits)}" for at, hits in of_size.items() if hits)
            small = np.mean([hit for size, hit in found if size >= 24])
            print(f"  {each:8} {kind:8} from 24 pixels {small:.3f}  ", "  ".join(shares), flush=True)


@app.command()
def harm(
    folder: Annotated[Path, typer.Argument(help="Folder of JPEGs, most without people")],
    count: Annotated[int, typer.Option(help="Photos")] = 150,
    side: SidesOption = None,
) -> None:
    """Share of photos that are changed, of pixels that are hidden, and of photos in quarantine."""
    for each in side or ["default"]:
        with tempfile.TemporaryDirectory() as place:
            source, out = Path(place) / "in", Path(place) / "out"
            source.mkdir()
            chosen(folder, count, source)
            done = subprocess.run(
                command_of(each, source, out, "", ""), cwd=ROOT, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            audit = json.loads((out / "faces.json").read_text())
            hidden = []
            for name in audit["photos"]:
                before, after = (decoding.read(at / f"{name}.jpg").astype(int) for at in (source, out))
                hidden.append(
                    (np.abs(before - after).max(axis=2) > CHANGED).mean() if audit["photos"][name]["faces"] else 0
                )
            print(f"  {each:8} {count} photos: changed {audit['photos_with_faces'] / count:.3f}, "
                  f"pixels hidden {np.mean(hidden):.4f}, in quarantine {audit['quarantined']}")  # fmt: skip


def chosen(folder: Path, count: int, source: Path) -> None:
    """Copy ``count`` photos, evenly from all."""
    files = sorted(folder.rglob("*.jpg"))
    for n, file in enumerate(files[:: max(len(files) // count, 1)][:count]):
        shutil.copy(file, source / f"{n}.jpg")


@app.command()
def speed(
    folder: Annotated[Path, typer.Argument(help="Folder of JPEGs")],
    deface: DefaceOption,
    count: Annotated[int, typer.Option(help="Photos")] = 100,
    rounds: Annotated[int, typer.Option(help="Rounds, interleaved; the median counts")] = 5,
) -> None:
    """Photos and processor seconds of whole commands: deface (CenterFace, one look, a mosaic), ours, and the thesis' detector."""
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "in"
        source.mkdir()
        chosen(folder, count, source)
        runs: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        for turn in range(rounds):
            for side in ("deface", "default"):
                runs[side].append(timed(command_of(side, source, Path(place) / f"{side}{turn}", deface, ""), count))
    for side, measured in runs.items():
        ratio = statistics.median(a[0] / b[0] for a, b in zip(measured, runs["deface"], strict=True))
        cpu = statistics.median(b[1] / a[1] for a, b in zip(measured, runs["deface"], strict=True))
        rate, spent, peak = (statistics.median(m[0] for m in measured), statistics.median(m[1] for m in measured),
                             max(m[2] for m in measured))  # fmt: skip
        print(f"  {side:8} {rate:6.2f} photos a second, {1000 * spent / count:.0f} ms of processor a photo; "
              f"{ratio:.2f} x deface, {cpu:.2f} x by processor; {peak:.2f} GB at the peak")  # fmt: skip


def timed(command: list[str], count: int) -> tuple[float, float, float]:
    """Photos a second, seconds of processor, and the largest memory of all its processes together (shared pages shared out), GB."""
    begin, peak, spent = time.perf_counter(), 0.0, resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "LANDMARKS_WORKERS": "2"}, start_new_session=True) as run:  # fmt: skip
        while run.poll() is None:
            peak = max(peak, memory.held(run.pid))
            time.sleep(0.2)
        if run.returncode:
            raise SystemExit(run.stderr.read() if run.stderr else "failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - spent.ru_utime - spent.ru_stime
    return count / (time.perf_counter() - begin), processor, peak


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
            stage("anonymize", images, methods[method], listing, out / f"{method}.json", out / f"{method}.csv", "--method", method, "--max-quarantined", 1000)  # fmt: skip
        shutil.copytree(images, methods["none"], dirs_exist_ok=True)
        passed = set.intersection(*({file.name for file in folder.glob("*.jpg")} for folder in methods.values()))
        for folder in methods.values():  # the same photos for all: those that pass with every method
            for file in folder.glob("*.jpg"):
                if file.name not in passed:
                    file.unlink()
        print(f"{len(passed)} photos pass with every method")
        scores: dict[str, dict[str, list[float]]] = {m: defaultdict(list) for m in methods}
        for method, folder in methods.items():
            described = out / "described" / method  # a folder of features, as the stage baseline takes it
            described.mkdir(parents=True, exist_ok=True)
            stage("keypoints", listing, folder, described / "kaze.arrow", out / "k.json",
                  "--detector", "kaze", "--protocol", "joint", "--count", 32, "--long-side", 512)  # fmt: skip
            for seed in range(seeds):
                split = out / f"split{seed}.csv"
                if method == "none":
                    stage("split", listing, folder, split, out / "unknown.csv", out / "split.json", "--seed", seed)
                stage("baseline", described, split, out / "m.skops", out / "p.parquet", "--features", "kaze",
                      "--encoding", "flat", "--classifier", "bayes", "--pca", 0, "--seed", seed)  # fmt: skip
                scores[method]["bayes"].append(accuracy(out / "p.parquet", split))
                stage("cnn", folder, split, out / "c.json", out / "h.csv", out / "p.parquet",
                      "--module", module, "--no-augment", "--seed", seed)  # fmt: skip
                scores[method]["cnn"].append(accuracy(out / "p.parquet", split))
        print(f"test accuracy, mean and sd over {seeds} splits, the same for every method")
        for method, of in scores.items():
            told = (f"{name} {np.mean(values):.3f} +- {np.std(values, ddof=1):.3f}" for name, values in of.items())
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
    parts = tables.read_split(split)
    answers = prediction_files.read(predictions, parts["landmark_id"])[parts["split"] == "test"]
    return float((answers["actual"] == answers["predicted"]).mean())


if __name__ == "__main__":
    app()
