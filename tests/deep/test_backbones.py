"""Any published module serves as a backbone; one that would give a bad model is refused, with what to change."""

import json
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from support import ROOT, Host, Script, fails_in_one_line

from deep.conftest import Train
from landmarks.common.errors import InputError
from landmarks.deep import backbones, classifier
from landmarks.demo import renderer
from landmarks.images.preprocessing import Preprocessing

BACKBONE = str(ROOT / "data" / "demo" / "backbone")


def taking(size: int, values: tuple[float, float] = (0, 1)) -> Preprocessing:
    return Preprocessing(size=size, low=values[0], high=values[1], views=("middle",))


def small_network(side: int = 64) -> Any:
    """Loaded, saved and converted in a tenth of the time of the demo's backbone."""
    layers = tf.keras.layers
    parts = [layers.InputLayer((side, side, 3)), layers.Conv2D(8, 3, 2), layers.BatchNormalization()]
    return tf.keras.Sequential([*parts, layers.ReLU(), layers.GlobalAveragePooling2D()])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same as a module."""
    folder = str(tmp_path_factory.mktemp("small"))
    small_network().export(folder)
    return folder


def published(
    folder: Path, inner: str, function: Callable[[Any, Any], Any], sides: int | None = 64, shape: tuple[int | None, ...] = (),
    dtype: Any = tf.float32,
) -> str:  # fmt: skip
    """A SavedModel that gives what ``function`` gives of the module ``inner`` and photos, of (n, sides, sides, 3) or ``shape``."""
    module = tf.Module()
    module.inner = tf.saved_model.load(inner)
    call = module.inner if callable(module.inner) else module.inner.serve
    spec = tf.TensorSpec(shape or (None, sides, sides, 3), dtype)
    module.__call__ = tf.function(partial(function, call), input_signature=[spec])
    tf.saved_model.save(module, str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Eight photos of each of eight landmarks, as networks take them, and the landmarks."""
    path, squares, labels = tmp_path_factory.mktemp("shown") / "photo.jpg", [], []
    for landmark, view in np.ndindex(8, 8):
        path.write_bytes(renderer.photo(7, landmark + 1, view))
        squares.append(taking(128).read(path))
        labels.append(landmark)
    return classifier.scaled(np.stack(squares)), np.array(labels)


@pytest.mark.slow
def test_a_range_of_pixel_values_that_is_not_the_modules_is_found_out(
    shown: tuple[NDArray[np.float32], NDArray[np.int64]], tmp_path: Path
) -> None:
    bytes_ = published(tmp_path / "bytes", BACKBONE, lambda inner, photos: inner(photos / 255), 128)
    signed = published(tmp_path / "signed", BACKBONE, lambda inner, photos: inner((photos + 1) / 2), 128)
    unit, byte, sign = (0, 1), (0, 255), (-1, 1)
    cases = ((BACKBONE, unit, byte), (bytes_, byte, unit), (bytes_, byte, sign), (signed, sign, unit))
    for name, right, wrong in cases:
        backbones.check_range(backbones.load(name, taking(0, right), training=False), *shown)
        with pytest.raises(InputError, match=rf"set them to {right[0]} and {right[1]} in params.yaml"):
            backbones.check_range(backbones.load(name, taking(0, wrong), training=False), *shown)


@pytest.mark.slow
def test_a_module_says_its_size_and_what_is_no_vector_a_photo_is_refused(small: str, tmp_path: Path) -> None:
    assert backbones.load(BACKBONE, taking(0), training=False).size == 128
    flat = published(tmp_path / "map", small, lambda _, photos: photos[:, ::16, ::16])
    with pytest.raises(InputError, match=r"gives \(4, 4, 3\) a photo, not one vector"):
        backbones.load(flat, taking(0), training=False)
    anything = published(tmp_path / "any", small, lambda _, photos: tf.reduce_mean(photos, (1, 2)), sides=None)
    with pytest.raises(InputError, match=r"does not say what size of photos it takes; set cnn.size"):
        backbones.load(anything, taking(0), training=False)
    module = backbones.load(anything, taking(64), training=False)
    assert module.learnable == []
    with pytest.raises(InputError, match=r"has nothing to train; set cnn.recipe to frozen"):
        backbones.BackboneLayer(module, 1, statistics=False)
    with pytest.raises(InputError, match=r"has no training mode; set cnn.recipe to frozen or two-phase"):
        backbones.load(anything, taking(64), training=True)


def frozen(name: str, size: int = 0) -> backbones.Backbone:
    return backbones.load(name, taking(size), training=False)


@pytest.mark.slow
def test_a_module_with_named_outputs_is_used_if_one_of_them_is_the_vector(small: str, tmp_path: Path) -> None:
    photos = np.random.default_rng(0).random((5, 64, 64, 3)).astype(np.float32)
    expected = frozen(small).layer(photos, training=False)
    one = published(tmp_path / "one", small, lambda inner, photos: {"vector": inner(photos)})
    default = published(tmp_path / "two", small, lambda inner, photos: {"default": inner(photos), "a": photos})
    for name in (one, default):
        module = frozen(name)
        np.testing.assert_allclose(module.layer(photos, training=False), expected, atol=1e-5)
        named = backbones.by_name(module.layer, name)  # as a .keras file has it
        np.testing.assert_allclose(type(named).from_config(named.get_config())(photos), expected, atol=1e-5)
    neither = published(tmp_path / "neither", small, lambda inner, photos: {"a": inner(photos), "b": photos})
    with pytest.raises(
        InputError, match="gives the outputs a, b; save it with one output, or call the vector 'default'"
    ):
        frozen(neither)
    with pytest.raises(InputError, match="gives 2 outputs; save it with one output"):
        frozen(published(tmp_path / "pair", small, lambda inner, photos: (inner(photos), photos)))


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "parts"), [
    ((1, 128, 128, 3), "takes 1 photos at a time, no other number; save it with None"),
    ((8, 128, 128, 3), "takes 8 photos at a time, no other number; save it with None"),
    ((None, 3, 128, 128), r"takes channels first, \(None, 3, 128, 128\); save it for photos with channels last"),
    ((None, 128, 96, 3), "takes photos of 128 x 96 pixels, not of 128; save it for square photos"),
    ((None, 128, 128, 1), r"takes no RGB photos of 128 .*its inputs are float32 \(None, 128, 128, 1\)"),
])  # fmt: skip
def test_a_module_of_other_inputs_is_refused_with_what_to_do(
    small: str, tmp_path: Path, shape: tuple[int | None, ...], parts: str
) -> None:
    with pytest.raises(InputError, match=parts):
        frozen(published(tmp_path / "module", small, lambda _, photos: tf.reduce_mean(photos, (1, 2)), shape=shape))


@pytest.mark.slow
def test_a_module_whose_vectors_are_not_of_one_photo_is_refused(small: str, tmp_path: Path) -> None:
    cases: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
        "mean": (
            lambda inner, photos: tf.reduce_mean(inner(photos), 0, keepdims=True),
            r"gives \(1, 8\) for two photos",
        ),
        "none": (lambda inner, photos: inner(photos) * np.nan, "gives values that are no numbers"),
        "batch": (
            lambda inner, photos: inner(photos - tf.reduce_mean(photos, 0)),
            "another vector when .* inference mode",
        ),
    }
    for name, (function, parts) in cases.items():
        with pytest.raises(InputError, match=parts):
            frozen(published(tmp_path / name, small, function))
    whole = published(
        tmp_path / "bytes", small, lambda inner, photos: inner(tf.cast(photos, tf.float32)), dtype=tf.uint8
    )
    with pytest.raises(InputError, match=r"its inputs are uint8 \(None, 64, 64, 3\)"):
        frozen(whole)


@pytest.mark.slow
def test_what_keras_exports_is_a_module_that_fine_tuning_changes_and_export_writes(
    script: Script, cnn: Train, photos: Path, split: Path, tmp_path: Path
) -> None:
    module = tmp_path / "module"
    small_network().export(str(module))
    knobs = ("--module", module, "--recipe", "two-phase", "--epochs", 2, "--tuning-epochs", 1, "--tuned", 1)
    done = cnn(tmp_path / "out", *knobs, "--no-restore-best", "--tuning-rate", 0.01)
    assert done.returncode == 0, done.stderr
    network = classifier.load(tmp_path / "out" / "model.json")
    trunk, fresh = network.model.layers[0], frozen(str(module), 64)
    assert len(trunk.trainable_weights) == 4
    assert any((a.numpy() != b.numpy()).any() for a, b in zip(trunk.layer.weights, fresh.layer.weights, strict=True))
    (tmp_path / "landmarks.csv").write_text("id,name\n1,Old Bridge\n")
    taken = photos / "images", split, tmp_path / "out" / "model.json", tmp_path / "landmarks.csv"
    given = *taken, tmp_path / "export", tmp_path / "e.json"
    done = script("export", *given, "--examples", 3)
    assert done.returncode == 0, done.stderr
    assert {
        form["same_top1"] for name, form in json.loads((tmp_path / "e.json").read_text()).items() if name != "int8"
    } == {1}
    fails_in_one_line(
        cnn(tmp_path / "t", "--module", module, "--recipe", "thesis"), "set cnn.recipe to frozen or two-phase"
    )


@pytest.mark.slow
def test_several_modules_are_one_backbone_in_every_form(
    script: Script, cnn: Train, photos: Path, split: Path, small: str, tmp_path: Path
) -> None:
    small_network(96).export(str(tmp_path / "larger"))
    both = ("--module", small, "--module", tmp_path / "larger")
    done = cnn(tmp_path / "out", *both, "--views", "middle", "--views", "mirror")
    assert done.returncode == 0, done.stderr
    network = classifier.load(tmp_path / "out" / "model.json")
    picture = network.preprocessing.read(photos / "images" / "p1_00.jpg")
    assert picture.shape == (2 * 96, 96, 3)  # the larger of the two sizes
    assert network.vectors(classifier.scaled(picture[None])).shape == (1, 8 + 8)
    (tmp_path / "landmarks.csv").write_text("id,name\n1,Old Bridge\n")
    taken = photos / "images", split, tmp_path / "out" / "model.json", tmp_path / "landmarks.csv"
    given = *taken, tmp_path / "export", tmp_path / "e.json"
    done = script("export", *given, "--examples", 3)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "e.json").read_text())
    assert {told[name]["same_top1"] for name in ("keras", "saved_model", "float32", "float16")} == {1}
    fails_in_one_line(cnn(tmp_path / "t", *both, "--recipe", "two-phase"), "has nothing to train", "frozen")


@pytest.mark.slow
def test_a_module_that_is_a_file_or_has_nothing_to_call_is_refused_with_what_to_do(tmp_path: Path) -> None:
    small_network().save(tmp_path / "module.keras")
    with pytest.raises(InputError, match=r"it is a file: open it with Keras and write a SavedModel folder"):
        frozen(str(tmp_path / "module.keras"))
    tf.saved_model.save(tf.Module(), str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="has nothing to call; save it with the signature serving_default"):
        frozen(str(tmp_path / "nothing"))


@pytest.mark.slow
def test_a_fetched_module_is_kept_in_the_projects_cache_and_found_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: Host
) -> None:
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    monkeypatch.setenv("LANDMARKS_MODELS", str(tmp_path / "models"))
    with tarfile.open(tmp_path / "module.tar.gz", "w:gz") as archive:
        archive.add(BACKBONE, ".")
    host.body = (tmp_path / "module.tar.gz").read_bytes()
    handle = f"{host.url}/body/module/1"
    assert frozen(handle).size == 128
    host.always = 503
    assert frozen(handle).size == 128
    assert sum(host.asked.values()) == 1
    assert list((tmp_path / "models" / "tfhub").glob("*/saved_model.pb"))
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "own"))  # the person's choice holds
    host.always = 0
    frozen(handle)
    assert list((tmp_path / "own").glob("*/saved_model.pb"))


@pytest.mark.slow
def test_a_name_in_keras_applications_is_a_module_with_a_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = tf.keras.applications.MobileNetV2((96, 96, 3), include_top=False, weights=None, pooling="avg")
    (tmp_path / ".keras" / "models").mkdir(parents=True)
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"
    made.save_weights(str(tmp_path / ".keras" / "models" / name))
    module = backbones.load("MobileNetV2", taking(96), training=False)
    photo = np.random.default_rng(0).random((2, 96, 96, 3)).astype(np.float32)
    trunk = backbones.BackboneLayer(module, 0.2, statistics=False)
    np.testing.assert_allclose(trunk(photo), made(photo * 2 - 1), atol=1e-5)
    assert module.certain
    assert len(trunk.trainable_weights) == round(0.2 * len(made.trainable_variables))
    assert trunk.trainable_weights[-1] is module.layer.trainable_variables[-1]
    with pytest.raises(InputError, match=r"cnn.module MobilNetV2: cannot be loaded .*; is it 'MobileNetV2'\?"):
        backbones.load("MobilNetV2", taking(96), training=False)
    monkeypatch.setenv("HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"cnn.module MobileNetV2: cannot be loaded .*without a network"):
        backbones.load("MobileNetV2", taking(96), training=False)


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [False, True])
def test_the_backbone_is_a_module_with_batch_norm_in_both_modes(trainable: bool) -> None:
    import tensorflow_hub as hub

    layer = hub.KerasLayer(BACKBONE, trainable=trainable)
    shots = np.random.default_rng(0).random((4, 128, 128, 3)).astype(np.float32)
    before = [variable.numpy() for variable in layer.variables]
    assert layer(shots, training=False).shape == (4, 1280)
    training = layer(shots, training=True).numpy()
    moved = sum(not np.array_equal(a, b.numpy()) for a, b in zip(before, layer.variables, strict=True))
    assert (moved > 0) == trainable
    assert np.allclose(training, layer(shots, training=False).numpy()) != trainable
    assert len(layer.trainable_variables) == (156 if trainable else 0)


@pytest.mark.parametrize(
    ("knobs", "parts"),
    [
        (("--module", "data/demo/nowhere"), ["cnn.module data/demo/nowhere", "cannot be loaded", "params.yaml"]),
        (("--module", "http://127.0.0.1:9/v/4"), ["http://127.0.0.1:9/v/4: cannot be loaded", "without a network"]),
        (("--size", 96), ["takes photos of 128 x 128 pixels, not of 96", "cnn.size to 128 or 0"]),
    ],
)
def test_a_module_that_cannot_be_used_is_an_error_that_names_it(
    cnn: Train, tmp_path: Path, knobs: tuple[object, ...], parts: list[str]
) -> None:
    done = cnn(tmp_path, *knobs)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("cnn: ")]
    assert all(part in line for part in parts), line
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
