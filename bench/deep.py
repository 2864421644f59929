"""The deep side, measured: the thesis' recipe beside ours on the same photos and splits, in accuracy, seconds and memory.

python bench/deep.py run [PHOTOS] --module M    five splits, interleaved: the thesis' recipe, frozen with its augmentation and milder, two-phase
python bench/deep.py heads [PHOTOS] -m M -m N   five splits: each module, and all side by side, by views and head, then with Fisher vectors:
                                                accuracy, seconds, MB; the thesis' recipe beside them with --epochs 20
python bench/deep.py trunk [PHOTOS] --module M  photos a second, decoded and passed through the module, beside the module alone
python bench/deep.py forms [PHOTOS] --module M  every exported form: megabytes, accuracy lost, milliseconds a photo

PHOTOS: a CSV of file (beside it), landmark_id; a folder with a subfolder a landmark; else the synthetic demo dataset, after `make repro`.
M: as cnn.module in params.yaml; data/demo/backbone if not given.
"""

import os
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import material
import memory
import numpy as np
import pandas as pd
import tensorflow as tf
import typer
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

import stage
from landmarks.classical import classifiers, features_file, local_features
from landmarks.classical.config import EncodingConfig, PipelineConfig
from landmarks.common import parallel
from landmarks.deep import backbones, classifier, export, image_cache, solved_head, training
from landmarks.deep.config import NetworkConfig, Recipe, TrainingConfig
from landmarks.evaluation import calibration, ensembles, significance
from landmarks.images import decoding
from landmarks.images.preprocessing import Preprocessing, View

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Source = Annotated[Path | None, typer.Argument(help="CSV, folder, or nothing for the synthetic demo dataset")]
PerClass = Annotated[int, typer.Option(min=25, help="Photos a landmark, the first by id")]
Module = Annotated[str, typer.Option(help="As cnn.module in params.yaml")]
Modules = Annotated[
    list[str] | None, typer.Option("--module", "-m", help="As cnn.module in params.yaml; repeat for more")
]
TEST, VALIDATION = 0.3, 0.14
FIVE = get_args(View)
RECIPES: dict[str, dict[str, Any]] = {  # what differs from params.yaml
    "frozen": {},
    "frozen, five views": {"views": FIVE},
    "frozen, the thesis' augmentation": {"augment": True},
    "frozen, milder augmentation": {"augment": True, "rotation": 10.0, "shift": 0.06, "shear": 0.0, "zoom": 0.15},
    "two-phase": {"recipe": "two-phase"},  # at no label smoothing, as the solved head
}


def recipe(module: str | tuple[str, ...], seed: int, augment: bool = False, **changed: Any) -> Recipe:
    """The recipe of params.yaml on another backbone, with some values ``changed``."""
    return Recipe(stage.block("cnn", TrainingConfig, module=module, **changed), NetworkConfig(augment), seed)


def thesis(
    module: str, size: int, folder: Path, rows: pd.DataFrame, epochs: int, augment: bool, seed: int
) -> Iterator[float]:
    """The thesis' figures 13 and 14: PNG files decoded at full size in every epoch, SGD .05, all trained. Validation score an epoch."""
    tf.keras.utils.set_random_seed(seed)
    changes: dict[str, Any] = {}
    if augment:
        changes = {"rotation_range": 40, "horizontal_flip": True, "width_shift_range": 0.2, "height_shift_range": 0.2,
                   "shear_range": 0.2, "zoom_range": 0.2}  # fmt: skip
    keras = tf.keras
    flows = {
        part: keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255, **(changes if part == "train" else {}))
        .flow_from_dataframe(rows[rows["split"] == part], str(folder), target_size=(size, size), batch_size=32, seed=seed,
                             shuffle=part == "train", interpolation="bilinear", validate_filenames=False)
        for part in ("train", "test")
    }  # fmt: skip
    model = keras.Sequential([
        keras.layers.InputLayer((size, size, 3)), backbones.CUSTOM["KerasLayer"](module, trainable=True), keras.layers.Dropout(0.2),
        *(keras.layers.Dense(units, activation="relu") for units in (20000, 1000, 200)), keras.layers.Dropout(0.2),
        keras.layers.Dense(rows["class"].nunique(), kernel_regularizer=keras.regularizers.l2(1e-4)),
    ])  # fmt: skip
    model.compile(
        keras.optimizers.legacy.SGD(0.05, 0.9),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), ["accuracy"],
    )  # fmt: skip
    for _ in range(epochs):
        model.fit(flows["train"], verbose=0)
        yield float(model.evaluate(flows["test"], verbose=0)[1])


@contextmanager
def clocked(took: list[float]) -> Iterator[None]:
    """Append the seconds that the block takes."""
    begun = time.perf_counter()
    yield
    took.append(time.perf_counter() - begun)


@contextmanager
def laid_out(
    source: Path | None, per_class: int
) -> Iterator[tuple[list[Path], NDArray[np.str_], training.LabelledPhotos]]:
    """Paths and landmarks of the photos; while the block runs, they lie in one folder as stages find them, ``<id>.jpg``."""
    paths, landmarks = material.listed(source, per_class)
    labels, ids = sorted(set(landmarks.tolist())), [f"p{number:05}" for number in range(len(paths))]
    with tempfile.TemporaryDirectory() as folder:
        for photo, path in zip(ids, paths, strict=True):
            Path(folder, f"{photo}.jpg").symlink_to(path.resolve())
        yield paths, landmarks, training.LabelledPhotos(
            folder=Path(folder), ids=ids, class_ids=np.searchsorted(labels, landmarks), groups=material.grouped(paths),
            labels=labels,
        )  # fmt: skip


def taken(module: str) -> Preprocessing:
    """The preprocessing of params.yaml at the size that the module states."""
    preprocessing = recipe(module, 0).preprocessing
    return replace(preprocessing, size=backbones.load(module, preprocessing, training=False).size)


def some(everything: training.LabelledPhotos, chosen: NDArray[np.bool_]) -> training.LabelledPhotos:
    """Those of the photos that are ``chosen``."""
    ids = list(np.array(everything.ids)[chosen])
    return replace(everything, ids=ids, class_ids=everything.class_ids[chosen], groups=everything.groups[chosen])


def as_png(folder: Path, into: Path, photo: str) -> None:
    """What the thesis kept of a photo."""
    Image.open(folder / f"{photo}.jpg").convert("RGB").save(into / f"{photo}.png", compress_level=1)


def described(settings: local_features.FeatureSettings, path: Path) -> NDArray[Any]:
    """What the keypoints stage makes of a photo."""
    return local_features.describe(decoding.read(path, settings.long_side), settings)[1]


def fitted_fisher(found: NDArray[Any], landmarks: NDArray[np.str_], parts: NDArray[np.str_], seed: int) -> Any:
    """The model ``fisher`` of params.yaml, fitted on train and calibrated on validation; its probabilities of all photos."""
    config = PipelineConfig(
        detector="sift", encoding="fisher", classifier="svm", n=0, words=64, seed=seed,
        **vars(stage.block("encoding", EncodingConfig)),
    )  # fmt: skip
    fisher = classifiers.fit(config, found[parts == "train"], landmarks[parts == "train"])
    classifiers.calibrate(fisher, found[parts == "validation"], landmarks[parts == "validation"])
    return classifiers.probabilities(fisher, found)


def upright_sift(paths: list[Path]) -> NDArray[Any]:
    """The descriptors of each photo."""
    settings = local_features.FeatureSettings(detector="sift", count=600, long_side=400, protocol="upright")
    return features_file.objects(list(parallel.sound(parallel.each(partial(described, settings), paths, "sift"))))


def thesis_table(everything: training.LabelledPhotos, parts: NDArray[np.str_]) -> pd.DataFrame:
    """Photos as the thesis lists them; it kept none for validation."""
    landmarks, kept = np.array(everything.labels)[everything.class_ids], np.where(parts == "test", "test", "train")
    return pd.DataFrame({"filename": [f"{photo}.png" for photo in everything.ids], "class": landmarks, "split": kept})


@app.command()
def run(
    source: Source = None,
    per_class: PerClass = 80,
    module: Module = "data/demo/backbone",
    seeds: Annotated[int, typer.Option(min=1, help="Splits")] = 5,
    epochs: Annotated[int, typer.Option(min=0, help="Of the thesis' recipe; 0 leaves it out")] = 20,
) -> None:
    """Test accuracy, and seconds from photos on disk to a trained network, on the same splits."""
    preprocessing = taken(module)
    scores: dict[str, list[float]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    held: dict[str, list[float]] = defaultdict(list)
    with laid_out(source, per_class) as (paths, landmarks, everything), tempfile.TemporaryDirectory() as place:
        png, numbers = Path(place), everything.class_ids
        if epochs:
            list(parallel.sound(parallel.each(partial(as_png, everything.folder, png), everything.ids, "png")))
        for seed, parts in enumerate(material.dealt(paths, landmarks, everything.groups, seeds, TEST, VALIDATION)):
            test, train, validation = (parts == name for name in ("test", "train", "validation"))
            learnt = ~test
            few = some(everything, learnt)

            def note(
                name: str, shares: NDArray[Any], truth: NDArray[np.int64] = numbers[test], seed: int = seed
            ) -> None:
                scores[name].append(float((shares.argmax(axis=1) == truth).mean()))
                took = f", {seconds[name][-1]:.0f} s" if seconds[name] else ""
                print(f"  seed {seed}: {name} {scores[name][-1]:.4f}{took}", flush=True)

            for name, changed in RECIPES.items():
                tf.keras.backend.clear_session()
                asked = recipe(module, seed, **changed)
                with memory.peak(held["ours"]), clocked(seconds[name]):
                    network, history, *_ = training.fit(asked, few, train[learnt], validation[learnt])
                tested = image_cache.preprocessed(everything.folder, some(everything, test).ids, network.preprocessing)
                note(name, network.probabilities(tested))
                if name == "two-phase":
                    lost = {phase: rows["validation_loss"] for phase, rows in history.groupby("phase")}
                    print(f"    validation loss, head {lost['head'].min():.4f}, then "
                          f"{', '.join(f'{loss:.4f}' for loss in lost['trunk'])}")  # fmt: skip
            rows = thesis_table(everything, parts)
            for augment in (False, True) if epochs else ():
                name = "thesis" + ", augmented" * augment
                if augment and seed:
                    continue  # once is enough: it costs as much again
                tf.keras.backend.clear_session()
                by_epoch = []
                with memory.peak(held["thesis"]), clocked(seconds[name]):
                    for score in thesis(module, preprocessing.size, png, rows, epochs, augment, seed):
                        by_epoch.append(score)
                        print(f"    {name}, epoch {len(by_epoch)}: {score:.4f}", flush=True)
                scores[name].append(by_epoch[-1])
                print(f"  seed {seed}: {name} {by_epoch[-1]:.4f}, {seconds[name][-1]:.0f} s", flush=True)
            summary(scores, seconds, held, len(paths))
    for name in [name for name in RECIPES if name != "frozen" and seeds > 1]:
        against = significance.corrected(list(np.subtract(scores[name], scores["frozen"])), TEST / (1 - TEST))
        print(
            f"{name} less frozen: {against.mean:+.4f} ± {against.reach:.4f} (95 %, corrected resampled t over {seeds} splits)"
        )


def summary(
    scores: dict[str, list[float]], seconds: dict[str, list[float]], held: dict[str, list[float]], count: int
) -> None:
    """Print what is known so far."""
    print(
        f"\n{count} photos, {parallel.workers()} workers; test accuracy, mean and sd of the splits; median seconds to train"
    )
    for name, of in scores.items():
        took = f"{np.median(seconds[name]):8.1f} s" if seconds[name] else ""
        print(
            f"  {name:36} {np.mean(of):.4f} ± {np.std(of, ddof=1) if len(of) > 1 else 0:.4f}  ({len(of)} splits) {took}"
        )
    print("most memory: " + ", ".join(f"{name} {max(of):.2f} GB" for name, of in held.items()), flush=True)


@app.command()
def heads(
    source: Source = None,
    per_class: PerClass = 80,
    module: Modules = None,
    seeds: Annotated[int, typer.Option(min=2, help="Splits")] = 5,
    epochs: Annotated[int, typer.Option(min=0, help="Of the thesis' recipe, on the first split; 0 leaves it out")] = 0,
) -> None:
    """Test accuracy by backbone, views and head, fitted on train, and on train and validation; seconds of all photos; MB of weights."""
    module = module or ["data/demo/backbone"]
    print("| backbone | views | head | fitted on train | and on validation | s to vectors | s to fit | MB |")
    print("|---|---|---|---|---|---|---|---|")
    with laid_out(source, per_class) as (paths, landmarks, everything):
        dealt = list(material.dealt(paths, landmarks, everything.groups, seeds, TEST, VALIDATION))
        found = upright_sift(paths)
        fisher = [fitted_fisher(found, landmarks, parts, seed) for seed, parts in enumerate(dealt)]
        for names in [(name,) for name in module] + [tuple(module)] * (len(module) > 1):
            for views in (FIVE[:1], FIVE):
                compare(recipe(names, 0, views=views, recipe="two-phase"), everything, dealt, fisher)
        for name in module if epochs else ():
            took: list[float] = []
            with tempfile.TemporaryDirectory() as place, clocked(took):
                list(
                    parallel.sound(
                        parallel.each(partial(as_png, everything.folder, Path(place)), everything.ids, "png")
                    )
                )
                *_, score = thesis(
                    name, taken(name).size, Path(place), thesis_table(everything, dealt[0]), epochs, False, 0
                )
            print(f"| {Path(name).name} | 1 | thesis, first split | | {score:.3f} | | {took[0]:.0f} | |", flush=True)


def compare(
    asked: Recipe, everything: training.LabelledPhotos, dealt: list[NDArray[np.str_]], fisher: list[NDArray[Any]]
) -> None:
    """Print the rows of a backbone with certain views: the head solved, by gradient descent, and solved and pooled with Fisher vectors."""
    backbone, numbers, classes = classifier.load_backbone(asked), everything.class_ids, len(everything.labels)
    asked = asked.at(backbone.size)
    views, none = len(asked.preprocessing.views), np.zeros(len(numbers), bool)
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    with clocked(seconds["vectors"]):
        seen = training.vectors(backbone, everything, asked, none, none)
    unit = classifier.unit(seen)
    for parts, others in zip(dealt, fisher, strict=True):
        train, validation, test = (parts == name for name in ("train", "validation", "test"))
        logits = np.zeros((len(numbers), classes), np.float32)
        for of, chosen in (("train", train), ("both", ~test)):
            with clocked(seconds["solved"]):
                head = solved_head.solve(training.examples(unit, views, everything, chosen), classes, 0)
            logits[test], logits[chosen] = solved_head.logits(unit[test], head.kernel, head.bias), head.held_out
            scores["solved", of].append((logits[test].argmax(axis=1) == numbers[test]).mean())
        own = softmax(logits / calibration.temperature(logits[~test], numbers[~test]), axis=1)
        pooled, _ = ensembles.pool(own, others, numbers, validation)
        scores["solved, with Fisher vectors", "both"].append((pooled[test].argmax(axis=1) == numbers[test]).mean())
        if len(asked.training.module) == 1:
            with clocked(seconds["gradient descent"]):
                layers = tf.keras.Sequential(classifier.build(asked, backbone, classes).layers[1:])
                run = training.TrainingRun(asked, tf.distribute.get_strategy())
                training.train_head(run, layers, everything, seen, train, validation)
            logits = np.mean([layers(seen[test, view], training=False) for view in range(views)], axis=0)
            scores["gradient descent", "train"].append((logits.argmax(axis=1) == numbers[test]).mean())
    size = sum(weight.numpy().nbytes for weight in backbone.layer.weights) / 1e6
    backbones_named = " and ".join(Path(name).name for name in asked.training.module)
    for name in dict.fromkeys(name for name, _ in scores):
        found = (scores[name, each] for each in ("train", "both"))
        shown = " | ".join(f"{np.mean(of):.3f} ± {np.std(of, ddof=1):.3f}" if of else "" for of in found)
        to_fit = f"{np.median(seconds[name]):.1f}" if seconds[name] else ""
        print(
            f"| {backbones_named} | {views} | {name} | {shown} | {seconds['vectors'][0]:.1f} | {to_fit} | {size:.1f} |",
            flush=True,
        )


@app.command()
def trunk(
    source: Source = None, per_class: PerClass = 80, module: Module = "data/demo/backbone", rounds: int = 3
) -> None:
    """Photos a second: from files, as the cnn stage does, and the module alone on batches that are decoded already."""
    with laid_out(source, per_class) as (_, _, everything):
        preprocessing, ids = taken(module), everything.ids
        frozen = recipe(module, 0, size=preprocessing.size)
        bare = classifier.scaled(image_cache.preprocessed(everything.folder, ids, preprocessing))
        backbone = classifier.load_backbone(frozen)
        network = backbones.BackboneLayer(backbone, 0, statistics=False)
        none = np.zeros(len(ids), bool)
        took: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            with clocked(took["files to vectors"]):
                ours = training.vectors(backbone, everything, frozen, none, none)[:, 0]
            with clocked(took["module alone"]):
                theirs = np.concatenate([network(bare[at : at + 32]) for at in range(0, len(bare), 32)])
            print(f"  {took['files to vectors'][-1]:.2f} s, {took['module alone'][-1]:.2f} s", flush=True)
        print(f"largest difference: {np.abs(ours - theirs).max():.1e}")
        for name, of in took.items():
            print(f"  {name:18} {len(ids) / np.median(of):7.1f} photos/s")
        ratio = np.median(took["module alone"]) / np.median(took["files to vectors"])
        print(f"  ratio {ratio:.2f}")


@app.command()
def forms(
    source: Source = None,
    per_class: PerClass = 80,
    module: Module = "data/demo/backbone",
    seeds: Annotated[int, typer.Option(min=1, help="Splits")] = 3,
    examples: Annotated[int, typer.Option(min=1, help="As export.examples in params.yaml")] = 100,
) -> None:
    """The forms of the export stage, on the test photos: how big, what is lost, how fast, photo by photo on one thread."""
    found: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    with laid_out(source, per_class) as (paths, landmarks, everything), tempfile.TemporaryDirectory() as place:
        numbers = everything.class_ids
        for seed, parts in enumerate(material.dealt(paths, landmarks, everything.groups, seeds, TEST, VALIDATION)):
            test, train, validation = (parts == name for name in ("test", "train", "validation"))
            learnt = ~test
            network, *_ = training.fit(
                recipe(module, seed), some(everything, learnt), train[learnt], validation[learnt]
            )
            shown, taught = (
                image_cache.preprocessed(everything.folder, some(everything, of).ids, network.preprocessing)
                for of in (test, train)
            )
            files = [path.read_bytes() for path, of in zip(paths, test, strict=True) if of]
            runs: dict[str, tuple[int, export.Run]] = {"trained": (0, export.original(network))}
            export.saved_model(network, network.labels, Path(place, "served"))
            for name, run in export.serve(Path(place, "served")).items():
                runs[name] = (sum(path.stat().st_size for path in Path(place, "served").rglob("*.*")), run)
            for form, content in export.lite(network, taught[:: -(-len(taught) // examples)]):
                runs[form] = (len(content), export.interpret(content))
            best = {}
            for name, (size, run) in runs.items():
                took: list[float] = []
                with clocked(took):
                    best[name] = np.array(
                        [run(shown[at : at + 1], files[at : at + 1]).argmax() for at in range(len(shown))]
                    )
                right, same = (best[name] == numbers[test]).mean(), (best[name] == best["trained"]).mean()
                found[name].append((size / 1e6, float(right), float(same), took[0] / len(shown) * 1000))
    print("form              MB  top-1   same answer  ms a photo")
    for name, of in found.items():
        size, right, same, each = np.mean(of, axis=0)
        lost = [there[1] - here[1] for there, here in zip(found["trained"], of, strict=True)]
        print(
            f"{name:17} {size:5.2f} {right:.4f} {same:.4f} {each:6.1f}   lost {' '.join(f'{by:+.4f}' for by in lost)}"
        )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    app()
