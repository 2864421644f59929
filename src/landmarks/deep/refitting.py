"""The head of a frozen backbone, solved again on fewer photos."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from landmarks.deep import classifier, solved_head, training
from landmarks.deep.classifier import Classifier, Features
from landmarks.deep.runtime import tf

Mask = NDArray[np.bool_]


def probabilities(
    network: Classifier, photos: training.LabelledPhotos, subsets: Iterable[Mask], held_out: Mask
) -> Iterator[Features]:
    """For each subset of the photos, those that the head is solved and calibrated on, the probabilities of the photos ``held_out``.

    Masks are (n,); probabilities float32 (held out, labels). The network's recipe is ``frozen``: each photo passes its backbone once.
    """
    recipe, subsets = network.recipe, list(subsets)
    shown = len(recipe.preprocessing.views)
    seen = training.vectors(network.model.layers[0].backbone, photos, recipe, np.any(subsets, axis=0), held_out)
    classifier.unit(seen, out=seen)
    for learnt in subsets:
        head, temperature = training.solved(recipe, photos, seen, learnt)
        with threadpool_limits(1):
            logits = solved_head.logits(seen[held_out, :shown], head.kernel, head.bias)
        yield tf.nn.softmax(logits / temperature).numpy()
