"""A trained network as one graph with constant weights.

TensorFlow folds batch norm into the convolutions there: half the time of a Keras model that runs layer by layer. Building
it takes three seconds, so it is kept beside the model, in a folder ``.cache`` that git and DVC ignore; deleting it costs
those seconds and changes no result.
"""

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landmarks.common.files import sha256, whole
from landmarks.common.result_cache import fingerprint, package_hash
from landmarks.deep import classifier
from landmarks.deep.classifier import Classifier, Description
from landmarks.deep.runtime import convert_variables_to_constants_v2, tf

Run = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]

# As TensorFlow names argument and results of ``forward``
TAKEN, GIVEN = "pictures:0", ("Identity:0", "Identity_1:0")
STAMP = hashlib.sha256().digest_size  # bytes in front of the graph in its file


@dataclass(frozen=True, kw_only=True)
class FrozenNetwork(Description):
    """``run`` gives penultimate vectors (n, dimensions) and probabilities (n, labels), float32, of uint8 RGB
    (n, views * size, size, 3), any number of views; n > 0.
    """

    run: Run


def load(model: Path) -> FrozenNetwork:
    """Read a model of the cnn stage, its JSON, and its graph, which is built if none of these very files is there.

    Raises ``InputError`` as ``classifier.load``.
    """
    described = classifier.describe(model)
    kept = model.parent / ".cache" / f"{model.stem}.graph"
    identity = _identity(model, described)
    content = _read(kept, identity)
    if content is None:
        content = _freeze(classifier.load(model))
        # Where nothing may be written, it is built each time
        with contextlib.suppress(OSError), whole(kept) as partial:
            partial.write_bytes(_stamp(identity, content) + content)
    return FrozenNetwork(
        recipe=described.recipe, labels=described.labels, temperature=described.temperature, run=_restore(content)
    )


def _identity(model: Path, described: Description) -> str:
    """What the graph of a model depends on: its files, those of backbones that are a folder, and code that builds it."""
    backbones = (file for name in described.recipe.training.module for file in sorted(Path(name).rglob("*")))
    files = [model, model.with_suffix(".weights.h5"), *backbones]
    return fingerprint([[sha256(file) for file in files if file.is_file()], package_hash(), tf.__version__])


def _stamp(identity: str, content: bytes) -> bytes:
    return hashlib.sha256(identity.encode() + content).digest()


def _read(kept: Path, identity: str) -> bytes | None:
    """The graph in a file; None if there is none, or it is another one or damaged."""
    try:
        stored = kept.read_bytes()
    except OSError:
        return None
    return stored[STAMP:] if stored[:STAMP] == _stamp(identity, stored[STAMP:]) else None


def _freeze(network: Classifier) -> bytes:
    """A network as a GraphDef of TensorFlow, serialized."""

    def forward(pictures: Any) -> Any:
        vectors = network.vectors(tf.cast(pictures, tf.float32) / 255)
        return vectors, network.probabilities_of(vectors)

    # With a signature, or each batch size would get a graph
    traced = tf.function(
        forward, input_signature=[tf.TensorSpec((None, None, network.preprocessing.size, 3), tf.uint8)]
    )
    constant = convert_variables_to_constants_v2(traced.get_concrete_function())
    return constant.graph.as_graph_def().SerializeToString(deterministic=True)


def _restore(content: bytes) -> Run:
    graph = tf.compat.v1.GraphDef.FromString(content)
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    function = wrapped.prune([TAKEN], list(GIVEN))

    def run(pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        vectors, probabilities = function(tf.constant(pictures))
        return vectors.numpy(), probabilities.numpy()

    return run
