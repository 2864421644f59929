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
from landmarks.images.preprocessing import View, box, long_side

Pictures = NDArray[np.uint8]
Probabilities = NDArray[np.float32]
Lite = Literal["float32", "float16", "int8"]
Run = Callable[[Pictures, list[bytes]], Probabilities]  # photos and their files to probabilities (n, labels)


def original(network: Classifier) -> Run:
    """The network as it was trained; the files are not looked at."""
    return lambda shown, _: network.probabilities(shown)


def saved_model(network: Classifier, names: list[str], folder: Path) -> None:
    """Write a SavedModel with two signatures, both giving ``probabilities``, ``labels`` and ``names``, each (n, labels).

    ``serving_default`` takes ``pictures``, float32 RGB in [0, 1], (n, views * size, size, 3): a photo's views, one below the
    other; ``jpeg`` takes ``bytes``, the files themselves, (n,): decoded, cut into views and scaled inside, as in training but for
    the decoder's rounding. It does not read EXIF: files must be upright, as those of the gate are.
    """
    preprocessing = network.preprocessing
    size = preprocessing.size
    module = tf.Module()
    module.model = network.model
    named = {"labels": tf.constant(network.labels), "names": tf.constant(names)}

    def probabilities(pictures: Any) -> dict[str, Any]:
        softmax = network.softmax(pictures)
        told = {output: tf.repeat(values[None], tf.shape(softmax)[0], axis=0) for output, values in named.items()}
        return {"probabilities": softmax, **told}

    shown = tf.autograph.experimental.do_not_convert(box)  # its match is on a string, which needs no graph

    def square(picture: Any, view: View) -> Any:
        height, width = tf.unstack(tf.shape(picture)[:2])
        cut = tf.image.crop_to_bounding_box(picture, *shown(view, height, width, tf.minimum(height, width)))
        resized = tf.round(tf.image.resize(cut, (size, size), method="area"))
        return resized[:, ::-1] if view == "mirror" else resized

    def views(content: Any) -> Any:
        sides = tf.image.extract_jpeg_shape(content)[:2]
        longer = tf.reduce_max(sides)
        enough = long_side(preprocessing, longer, tf.reduce_min(sides))
        decode = partial(tf.io.decode_jpeg, content, channels=3, dct_method="INTEGER_ACCURATE")
        scales = [(longer >= factor * enough, partial(decode, ratio=factor)) for factor, _ in decoding.REDUCED]
        picture = tf.case(scales, default=decode)
        squares = tf.concat([square(picture, view) for view in preprocessing.views], axis=0)
        return tf.ensure_shape(squares, preprocessing.shape) / 255

    def jpeg(content: Any) -> dict[str, Any]:
        return probabilities(tf.map_fn(views, content, fn_output_signature=tf.float32))

    pictures, files = (
        tf.TensorSpec((None, *preprocessing.shape), tf.float32, "pictures"),
        tf.TensorSpec((None,), tf.string, "bytes"),
    )
    signatures = {
        "serving_default": tf.function(probabilities).get_concrete_function(pictures),
        "jpeg": tf.function(jpeg).get_concrete_function(files),
    }
    tf.saved_model.save(module, str(folder), signatures)
    (folder / "fingerprint.pb").unlink()  # holds a random number, and nobody needs it


def keras(network: Classifier, path: Path) -> None:
    """Write a .keras file of a photo's views, float32 RGB in [0, 1] (n, views * size, size, 3), to probabilities: the same bytes every time.

    It holds all weights and, of a TF-Hub module, the name from which ``hub.KerasLayer`` loads the graph. Load it with
    ``tf_keras.models.load_model(path, custom_objects={"KerasLayer": hub.KerasLayer})``.
    """
    layers, shape = tf.keras.layers, network.preprocessing.shape
    size, one_view = shape[1], _of_view(network)
    pictures = layers.Input(shape, name="pictures")
    cuts = [((top, shape[0] - size - top), (0, 0)) for top in range(0, shape[0], size)]
    logits = [one_view(layers.Cropping2D(cut, name=f"view{place}")(pictures)) for place, cut in enumerate(cuts)]
    mean = layers.Average(name="views")(logits) if len(logits) > 1 else logits[0]
    scaled_mean = layers.Rescaling(1 / network.temperature, name="temperature")(mean)
    model = tf.keras.Model(pictures, layers.Softmax(name="probabilities")(scaled_mean), name="landmarks")
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "model.keras"
        model.save(made, save_format="keras")
        undated(made, path)


def _of_view(network: Classifier) -> Any:
    """The network as layers that Keras itself can open again: RGB in [0, 1], (n, size, size, 3), to logits."""
    layers, size = tf.keras.layers, network.preprocessing.size
    trunk, *head = network.model.layers
    joined = isinstance(trunk.layer, backbones.JoinedLayer)
    parts = trunk.layer.parts if joined else (trunk.backbone,)
    view, vectors = layers.Input((size, size, 3), name="view"), []
    for place, (part, module) in enumerate(zip(parts, network.recipe.training.module, strict=True)):
        values = view if part.size == size else layers.Resizing(part.size, part.size, name=f"size{place}")(view)
        for layer in [*_affine(part.scale, f"scale{place}"), backbones.by_name(part.layer, module)]:
            values = layer(values)
        vectors.append(layers.UnitNormalization(name=f"length{place}")(values) if joined else values)
    values = layers.Concatenate(name="joined")(vectors) if joined else vectors[0]
    for layer in head:
        values = layer(values)
    return tf.keras.Model(view, values, name="one_view")


def _affine(scale: Callable[[Any], Any], name: str) -> list[Any]:
    """The layer that does what ``scale`` does to RGB in [0, 1], none where it does nothing: modules scale, shift and swap channels."""
    bias = np.asarray(scale(tf.zeros((1, 1, 1, 3))))[0, 0, 0]
    kernel = np.stack([np.asarray(scale(tf.reshape(colour, (1, 1, 1, 3))))[0, 0, 0] - bias for colour in tf.eye(3)])
    if not bias.any() and (kernel == np.eye(3)).all():
        return []
    layer = tf.keras.layers.Conv2D(3, 1, name=name)
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
    """Each form of the weights and its LiteRT file: a photo's views, float32 RGB in [0, 1], (1, views * size, size, 3), to
    probabilities.

    From ``examples``, training photos, uint8 RGB (n, views * size, size, 3), ``int8`` takes the ranges of its activations.
    """
    module = tf.Module()
    module.model = network.model
    photo = tf.TensorSpec((1, *network.preprocessing.shape), tf.float32)
    signature = tf.function(network.softmax).get_concrete_function(photo)
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
    """The two signatures of a SavedModel: pictures, uint8 RGB (n, views * size, size, 3), and their files to probabilities (n, labels)."""
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
