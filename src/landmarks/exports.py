"""The trained network in the forms that others run: TensorFlow Serving's SavedModel, and LiteRT for a phone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from landmarks.networks import Network

Pictures = NDArray[np.uint8]
Shares = NDArray[np.float32]
Lite = Literal["float32", "float16", "int8"]


def saved_model(network: Network, folder: Path) -> None:
    """Write a SavedModel with two signatures, both giving ``probabilities`` (n, labels) and ``labels``.

    ``serving_default`` takes ``pictures``, float32 RGB in [0, 1], (n, size, size, 3); ``jpeg`` takes ``bytes``, the files
    themselves, (n,): decoded, cut or squashed and scaled inside, as in training but for the decoder's rounding.
    """
    size, crop = network.recipe.size, network.recipe.crop
    module = tf.Module()
    module.model = network.model
    labels = tf.constant(network.labels)

    def probabilities(pictures: Any) -> dict[str, Any]:
        shares = tf.nn.softmax(network.model(pictures, training=False) / network.temperature)
        return {"probabilities": shares, "labels": tf.repeat(labels[None], tf.shape(shares)[0], axis=0)}

    def square(content: Any) -> Any:
        picture = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
        if crop:
            height, width = tf.unstack(tf.shape(picture)[:2])
            side = tf.minimum(height, width)
            picture = tf.image.crop_to_bounding_box(picture, (height - side) // 2, (width - side) // 2, side, side)
        scaled = tf.image.resize(picture, (size, size), method="area")
        return tf.ensure_shape(scaled, (size, size, 3)) / 255

    def jpeg(content: Any) -> dict[str, Any]:
        return probabilities(tf.map_fn(square, content, fn_output_signature=tf.float32))

    signatures = {
        "serving_default": tf.function(probabilities).get_concrete_function(
            tf.TensorSpec((None, size, size, 3), tf.float32, "pictures")
        ),
        "jpeg": tf.function(jpeg).get_concrete_function(tf.TensorSpec((None,), tf.string, "bytes")),
    }
    tf.saved_model.save(module, str(folder), signatures)
    (folder / "fingerprint.pb").unlink()  # holds a random number, and nobody needs it


def lite(network: Network, form: Lite, examples: Pictures, scratch: Path) -> bytes:
    """The network as a LiteRT (.tflite) file: one picture, float32 RGB in [0, 1], (1, size, size, 3), to probabilities.

    Args:
        network: what to convert.
        form: of its weights; ``int8`` quantises activations, too, in ranges taken from ``examples``.
        examples: training photos, uint8 RGB (n, size, size, 3).
        scratch: an empty folder for what the converter reads.
    """
    size = network.recipe.size
    module = tf.Module()
    module.model = network.model

    def probabilities(pictures: Any) -> Any:
        return tf.nn.softmax(network.model(pictures, training=False) / network.temperature)

    signature = tf.function(probabilities).get_concrete_function(tf.TensorSpec((1, size, size, 3), tf.float32))
    tf.saved_model.save(module, str(scratch), signature)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(scratch))
    if form != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if form == "int8":

        def calibration_set() -> Iterator[list[NDArray[np.float32]]]:
            for picture in examples:
                yield [picture[None].astype(np.float32) / np.float32(255)]

        converter.representative_dataset = calibration_set
    return bytes(converter.convert())


def serve(folder: Path) -> dict[str, Callable[[Pictures, list[bytes]], Shares]]:
    """The two signatures of a SavedModel: pictures, uint8 RGB (n, size, size, 3), and their files to probabilities (n, labels)."""
    loaded = tf.saved_model.load(str(folder))
    pictures, jpeg = loaded.signatures["serving_default"], loaded.signatures["jpeg"]

    def of_pictures(shown: Pictures, files: list[bytes]) -> Shares:
        return np.asarray(pictures(pictures=tf.constant(shown, tf.float32) / 255)["probabilities"], np.float32)

    def of_files(shown: Pictures, files: list[bytes]) -> Shares:
        return np.asarray(jpeg(bytes=tf.constant(files))["probabilities"], np.float32)

    of_pictures.loaded = of_files.loaded = loaded  # type: ignore[attr-defined]  # or its variables are gone with this frame
    return {"saved_model": of_pictures, "saved_model_jpeg": of_files}


def interpret(content: bytes) -> Callable[[Pictures, list[bytes]], Shares]:
    """The same of a LiteRT file, on one thread; the files are not looked at."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")  # its successor is another package
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def of_pictures(shown: Pictures, files: list[bytes]) -> Shares:
        made = []
        for picture in shown:
            interpreter.set_tensor(taken["index"], picture[None].astype(np.float32) / np.float32(255))
            interpreter.invoke()
            made.append(interpreter.get_tensor(given["index"])[0])
        return np.stack(made)

    return of_pictures
