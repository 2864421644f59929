"""The classical side, measured: the thesis' recipe beside ours on the same photos and splits, in accuracy, seconds and memory.

python bench/classical.py run [PHOTOS]        both recipes, five splits, interleaved; KAZE as the thesis ran it and as we do
python bench/classical.py components [PHOTOS] naive Bayes on 38 numbers of components: one PCA each, and one for all

PHOTOS: a CSV of file (beside it), landmark_id; a folder with a subfolder a landmark; else the synthetic demo dataset, after `make repro`.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import cv2
import material
import memory
import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import stage
from landmarks.classical import classifiers, encodings, features_file, local_features
from landmarks.classical.config import Encoding, EncodingConfig, Kind, PipelineConfig
from landmarks.common import parallel
from landmarks.images import decoding

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Photos = Annotated[Path | None, typer.Argument(help="CSV, folder, or nothing for the synthetic demo dataset")]
PerClass = Annotated[int, typer.Option(min=25, help="Photos a landmark, the first by id")]
Seeds = Annotated[int, typer.Option(help="Splits")]
Side = Annotated[int, typer.Option(help="Ours: pixels to which photos are shrunk")]
BLOCK = 40  # photos before the other side has its turn
TEST, VALIDATION = 0.3, 0.02


def dealt(paths: list[Path], landmarks: NDArray[np.str_], seeds: int) -> Iterator[NDArray[np.bool_]]:
    """Which photos are for training, a seed at a time."""
    for parts in material.dealt(paths, landmarks, material.grouped(paths), seeds, TEST, VALIDATION):
        yield parts != "test"


def thesis_kaze(path: Path) -> NDArray[np.float32]:
    """The thesis' figures 7 to 9: full size, detect, the 32 strongest, compute, flatten, zeros at the end."""
    picture = cv2.imread(str(path))
    kaze = cv2.KAZE_create()  # type: ignore[attr-defined,unused-ignore]
    points = sorted(kaze.detect(picture), key=lambda point: -point.response)[:32]
    _, values = kaze.compute(picture, points)
    row = np.zeros(2048, np.float32)
    if values is not None:
        row[: values.size] = values.ravel()
    return row


def described_by(
    detector: local_features.Detector, count: int, long_side: int, protocol: local_features.Protocol
) -> local_features.FeatureSettings:
    """Which descriptors."""
    return local_features.FeatureSettings(detector=detector, count=count, long_side=long_side, protocol=protocol)


def pipeline(detector: local_features.Detector, encoding: Encoding, classifier: Kind) -> PipelineConfig:
    """A keypoint model with the encoding block of params.yaml."""
    return PipelineConfig(
        detector=detector, encoding=encoding, classifier=classifier, n=0, words=64, seed=0,
        **vars(stage.block("encoding", EncodingConfig)),
    )  # fmt: skip


def ours(path: Path, settings: local_features.FeatureSettings) -> NDArray[Any]:
    """Descriptors of a photo, as the keypoints stage makes them."""
    return local_features.describe(decoding.read(path, settings.long_side), settings)[1]


@app.command()
def run(
    source: Photos = None,
    per_class: PerClass = 80,
    seeds: Seeds = 5,
    long_side: Side = 400,
    count: int = 600,
    thesis: Annotated[
        bool, typer.Option(help="Run the thesis' side, too: KAZE at full size takes ten times as long")
    ] = True,
) -> None:
    """Accuracy and seconds of both, and of KAZE alone."""
    paths, landmarks = material.listed(source, per_class)
    sets = {
        "kaze": described_by("kaze", count, long_side, "joint"),
        "upright_kaze": described_by("kaze", count, 320, "upright"),
        "sift": described_by("sift", count, long_side, "joint"),
        "upright": described_by("sift", count, long_side, "upright"),
    }
    seconds: dict[str, float] = defaultdict(float)
    rows: list[NDArray[np.float32]] = []
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in sets}
    held: list[float] = []
    list(parallel.sound(parallel.each(material.hashed, paths[:8], "workers")))  # started before anything is timed
    for start in tqdm(range(0, len(paths), BLOCK), desc="blocks of photos"):
        block = paths[start : start + BLOCK]
        begun = time.perf_counter()
        rows += [thesis_kaze(path) for path in block] if thesis else []
        seconds["thesis"] += time.perf_counter() - begun
        with memory.peak(held):
            for name, settings in sets.items():
                begun = time.perf_counter()
                found[name] += parallel.sound(parallel.each(partial(ours, settings=settings), block, name))
                seconds[name] += time.perf_counter() - begun
    if thesis:
        print(f"KAZE: thesis {seconds['thesis']:.0f} s (one process, full size)")
        for name in ("kaze", "upright_kaze"):
            times = seconds["thesis"] / seconds[name]
            print(
                f"  ours, {name} at {sets[name].long_side} px: {seconds[name]:.0f} s, {times:.1f} times faster",
                flush=True,
            )
    recipes = {
        "KAZE, flat, naive Bayes": ("kaze", pipeline("kaze", "flat", "bayes")),
        "the same, linear SVM": ("kaze32", pipeline("kaze", "flat", "svm")),
        "32 KAZE, Fisher, naive Bayes": ("kaze32", pipeline("kaze", "fisher", "bayes")),
        "32 KAZE, Fisher, linear SVM": ("kaze32", pipeline("kaze", "fisher", "svm")),
        "all KAZE, Fisher, naive Bayes": ("kaze", pipeline("kaze", "fisher", "bayes")),
        "upright KAZE at 320 px, flat, naive Bayes": ("upright_kaze", pipeline("kaze", "flat", "bayes")),
        "SIFT, VLAD, linear SVM": ("sift", pipeline("sift", "vlad", "svm")),
        "upright SIFT, VLAD, linear SVM": ("upright", pipeline("sift", "vlad", "svm")),
        "all KAZE, Fisher, linear SVM": ("kaze", pipeline("kaze", "fisher", "svm")),
        "upright SIFT, Fisher, linear SVM": ("upright", pipeline("sift", "fisher", "svm")),
    }
    scores: dict[str, list[float]] = defaultdict(list)
    fitting: dict[str, float] = defaultdict(float)
    flat = np.stack(rows).astype(np.float64) if thesis else np.zeros((0, 0))
    found["kaze32"] = [values[:32] for values in found["kaze"]]
    seconds["kaze32"] = seconds["kaze"]
    for seed, train in enumerate(dealt(paths, landmarks, seeds)):
        theirs = (
            ("thesis: naive Bayes", 0, GaussianNB()),
            ("thesis: PCA 10, naive Bayes", 10, GaussianNB()),
            ("thesis: decision tree", 0, DecisionTreeClassifier(random_state=seed)),
        )
        for name, n, model in theirs if thesis else ():
            begun = time.perf_counter()
            pca = PCA(n, random_state=seed).fit(flat[train]) if n else None
            values = pca.transform(flat) if pca else flat
            scores[name].append(model.fit(values[train], landmarks[train]).score(values[~train], landmarks[~train]))
            fitting[name] += time.perf_counter() - begun
        for name, (name_of, recipe) in recipes.items():
            begun = time.perf_counter()
            values = features_file.objects(found[name_of])
            with memory.peak(held):
                fitted = classifiers.fit(replace(recipe, seed=seed), values[train], landmarks[train])
                with threadpool_limits(1):
                    scores[name].append(fitted.score(values[~train], landmarks[~train]))
            fitting[name] += time.perf_counter() - begun
            print(f"  seed {seed}: {name} {scores[name][-1]:.3f}", flush=True)
    print(
        f"\n{len(paths)} photos, {seeds} splits, {parallel.workers()} workers; test accuracy, mean and sd; seconds from photos to scores"
    )
    for name, of in scores.items():
        name_of = "thesis" if name.startswith("thesis") else recipes[name][0]
        took = seconds[name_of] + fitting[name] / seeds
        print(f"  {name:42} {np.mean(of):.3f} ± {np.std(of, ddof=1):.3f}   {took:7.1f} s")
    print(f"ours, most memory: {max(held):.2f} GB over all processes")


@app.command()
def components(source: Photos = None, per_class: PerClass = 80, rounds: int = 3, long_side: Side = 400) -> None:
    """One PCA and one naive Bayes a number of components, as in the thesis, beside one of each for all 38."""
    paths, landmarks = material.listed(source, per_class)
    settings = described_by("kaze", 32, long_side, "joint")
    values = features_file.objects(list(parallel.sound(parallel.each(partial(ours, settings=settings), paths, "kaze"))))
    rows = encodings.Flat("kaze", 32).transform(values)
    train = next(dealt(paths, landmarks, 1))
    parts = (rows[train], landmarks[train], rows[~train], landmarks[~train])
    numbers = list(range(10, 200, 5))
    took: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        begun = time.perf_counter()
        once = classifiers.by_components(*parts, numbers)
        took["one for all"].append(time.perf_counter() - begun)
        for name, solver in (("one each, exact", "full"), ("one each, as scikit-learn chooses", "auto")):
            begun = time.perf_counter()
            each = np.array([_one(parts, n, solver) for n in numbers])
            took[name].append(time.perf_counter() - begun)
            if solver == "full":
                print(f"  largest difference in accuracy: {np.abs(each - once).max():.1e}", flush=True)
    for name, of in took.items():
        print(f"  {name:34} {np.median(of):6.2f} s   {np.median(of) / np.median(took['one for all']):5.1f} times")


def _one(parts: tuple[Any, ...], n: int, solver: Any) -> tuple[float, float]:
    fit, fit_landmarks, test, test_landmarks = parts
    pca = PCA(n, svd_solver=solver, random_state=0).fit(fit)
    model = GaussianNB().fit(pca.transform(fit), fit_landmarks)
    return model.score(pca.transform(fit), fit_landmarks), model.score(pca.transform(test), test_landmarks)


if __name__ == "__main__":
    app()
