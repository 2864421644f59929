"""Keypoint models: every parameter, declared once."""

from dataclasses import dataclass
from typing import Annotated, Literal

from landmarks.classical.local_features import Detector
from landmarks.common.knobs import Knob

Encoding = Literal["flat", "words", "vlad", "fisher"]
Kind = Literal["bayes", "tree", "svm", "logistic", "neighbours"]


@dataclass(frozen=True)
class FlatConfig:
    """What the thesis' encoding takes of the block ``encoding``."""

    keypoints: Annotated[int, Knob("flat: strongest descriptors laid end to end", min=1, max=4096)]


@dataclass(frozen=True)
class EncodingConfig(FlatConfig):
    """The block ``encoding`` of params.yaml: how a photo's descriptors become one vector."""

    components: Annotated[int, Knob("Other encodings: principal components of a descriptor", min=1)]
    sample: Annotated[int, Knob("Other encodings: descriptors that they learn from", min=2)]


@dataclass(frozen=True)
class ModelConfig:
    """An entry of ``models`` in params.yaml: features, an encoding of them, and a classifier."""

    features: Annotated[str, Knob("Entry of features in params.yaml")]
    encoding: Annotated[Encoding, Knob("How descriptors become one vector")]
    pca: Annotated[str, Knob("Principal components kept of it, a number or an entry of pca in params.yaml; 0: no PCA")]
    classifier: Annotated[Kind, Knob("Classifier")]
    words: Annotated[int, Knob("Size of the vocabulary of the encodings words, vlad and fisher", min=0)] = 0


@dataclass(frozen=True)
class PipelineConfig(EncodingConfig):
    """A keypoint model in all its parts."""

    detector: Detector
    encoding: Encoding
    classifier: Kind
    n: int  # principal components of a photo's vector; 0 leaves it as it is
    words: int
    seed: int  # of the sample, the vocabulary and the tree
