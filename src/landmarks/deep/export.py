"""The trained network in the forms that others run: TensorFlow Serving's SavedModel, and LiteRT for a phone."""

import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from landmarks.deep import backbones
from landmarks.deep.classifier import Classifier, scaled
from landmarks.deep.runtime import silent, tf
from landmarks.images import decoding

Pictures = NDArray[np.uint8]
Probabilities = NDArray[np.float32]
Lite = Literal["float32", "float16", "int8"]
Run = Callable[[Pictures, list[bytes]], Probabilities]  # photos and their files to probabilities (n, labels)


def original(network: Classifier) -> Run:
    """The network as it was trained; the files are not looked at."""
    return lambda shown, _: network.probabilities(shown)


def saved_model(network: Classifier, folder: Path) -> None:
    """Write a SavedModel with two signatures, both giving ``probabilities`` (n, labels) and ``labels``.

    ``serving_default`` takes ``pictures``, float32 RGB in [0, 1], (n, size, size, 3); ``jpeg`` takes ``bytes``, the files
    themselves, (n,): decoded, cut or squashed and scaled inside, as in training but for the decoder's rounding.
    """
    size, crop = network.preprocessing.size, network.preprocessing.crop
    module = tf.Module()
    module.model = network.model
    labels = tf.constant(network.labels)

    def probabilities(pictures: Any) -> dict[str, Any]:
        softmax = network.softmax(pictures)
        return {"probabilities": softmax, "labels": tf.repeat(labels[None], tf.shape(softmax)[0], axis=0)}

    def square(content: Any) -> Any:
        ends = tf.reduce_max, tf.reduce_min
        longer, shorter = (end(tf.image.extract_jpeg_shape(content)[:2]) for end in ends)
        enough = -(-size * longer // shorter) if crop else size  # the scale that Preprocessing.decode takes
        decode = partial(tf.io.decode_jpeg, content, channels=3, dct_method="INTEGER_ACCURATE")
        scales = [(longer >= factor * enough, partial(decode, ratio=factor)) for factor, _ in decoding.REDUCED]
        picture = tf.case(scales, default=decode)
        if crop:
            height, width = tf.unstack(tf.shape(picture)[:2])
            side = tf.minimum(height, width)
            picture = tf.image.crop_to_bounding_box(picture, (height - side) // 2, (width - side) // 2, side, side)
        scaled = tf.round(tf.image.resize(picture, (size, size), method="area"))
        return tf.ensure_shape(scaled, (size, size, 3)) / 255

    def jpeg(content: Any) -> dict[str, Any]:
        return probabilities(tf.map_fn(square, content, fn_output_signature=tf.float32))

    pictures, files = (
        tf.TensorSpec((None, size, size, 3), tf.float32, "pictures"),
        tf.TensorSpec((None,), tf.string, "bytes"),
    )
    signatures = {
        "serving_default": tf.function(probabilities).get_concrete_function(pictures),
        "jpeg": tf.function(jpeg).get_concrete_function(files),
    }
    tf.saved_model.save(module, str(folder), signatures)
    (folder / "fingerprint.pb").unlink()  # holds a random number, and nobody needs it


def keras(network: Classifier, path: Path) -> None:
    """Write a .keras file of float32 RGB in [0, 1] to probabilities: the same bytes every time.

    It holds all weights and, of a TF-Hub module, the name from which ``hub.KerasLayer`` loads the graph. Load it with
    ``tf_keras.models.load_model(path, custom_objects={"KerasLayer": hub.KerasLayer})``.
    """
    layers, size = tf.keras.layers, network.preprocessing.size
    trunk, *head = network.model.layers
    model = tf.keras.Sequential([
        layers.InputLayer((size, size, 3)), *_affine(trunk.scale), backbones.by_name(trunk.layer, network.recipe.training.module), *head,
        layers.Rescaling(1 / network.temperature), layers.Softmax(),
    ])  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "model.keras"
        model.save(made, save_format="keras")
        undated(made, path)


def _affine(scale: Callable[[Any], Any]) -> list[Any]:
    """The layer that does what ``scale`` does to RGB in [0, 1], none where it does nothing: modules scale, shift and swap channels."""
    bias = np.asarray(scale(tf.zeros((1, 1, 1, 3))))[0, 0, 0]
    kernel = np.stack([np.asarray(scale(tf.reshape(colour, (1, 1, 1, 3))))[0, 0, 0] - bias for colour in tf.eye(3)])
    if not bias.any() and (kernel == np.eye(3)).all():
        return []
    layer = tf.keras.layers.Conv2D(3, 1, name="scale")
    layer.build((None, None, None, 3))
    layer.set_weights([kernel[None, None], bias])
    return [layer]


def undated(made: Path, path: Path) -> None:
    """Copy a ZIP file that Keras wrote, without the time of day in it."""
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == "metadata.json":
                content = json.dumps({**json.loads(content), "date_saved": "1980-01-01@00:00:00"}).encode()
            new.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)


def open_keras(path: Path) -> Run:
    """The same of a .keras file."""
    model = tf.keras.models.load_model(path, custom_objects=backbones.CUSTOM, compile=False)
    return lambda shown, _: np.asarray(model(scaled(shown), training=False), np.float32)


def lite(network: Classifier, examples: Pictures) -> Iterator[tuple[Lite, bytes]]:
    """Each form of the weights and its LiteRT file: a picture, float32 RGB in [0, 1], (1, size, size, 3), to probabilities.

    From ``examples``, training photos, uint8 RGB (n, size, size, 3), ``int8`` takes the ranges of its activations.
    """
    size = network.preprocessing.size
    module = tf.Module()
    module.model = network.model
    signature = tf.function(network.softmax).get_concrete_function(tf.TensorSpec((1, size, size, 3), tf.float32))
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signature)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)  # once: a third of what one conversion takes
        for form in get_args(Lite):
            converter.optimizations = [] if form == "float32" else [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16] if form == "float16" else []
            if form == "int8":
                converter.representative_dataset = lambda: ([scaled(picture[None])] for picture in examples)
            with silent():
                content = bytes(converter.convert())
            yield form, content


def serve(folder: Path) -> dict[str, Run]:
    """The two signatures of a SavedModel: pictures, uint8 RGB (n, size, size, 3), and their files to probabilities (n, labels)."""
    loaded = tf.saved_model.load(str(folder))  # named in the functions below: its variables live as long as they do

    def of_pictures(shown: Pictures, files: list[bytes]) -> Probabilities:
        answer = loaded.signatures["serving_default"](pictures=tf.constant(scaled(shown)))
        return np.asarray(answer["probabilities"], np.float32)

    def of_files(shown: Pictures, files: list[bytes]) -> Probabilities:
        return np.asarray(loaded.signatures["jpeg"](bytes=tf.constant(files))["probabilities"], np.float32)

    return {"saved_model": of_pictures, "saved_model_jpeg": of_files}


def interpret(content: bytes) -> Run:
    """The same of a LiteRT file, on one thread; the files are not looked at."""
    with silent(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")  # its successor is another package
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def of_pictures(shown: Pictures, files: list[bytes]) -> Probabilities:
        made = []
        for picture in shown:
            interpreter.set_tensor(taken["index"], scaled(picture[None]))
            interpreter.invoke()
            made.append(interpreter.get_tensor(given["index"])[0])
        return np.stack(made)

    return of_pictures
