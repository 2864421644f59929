"""How a network is trained: every parameter of the cnn stage, declared once."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from landmarks.common.knobs import Knob
from landmarks.images.preprocessing import Preprocessing

Method = Literal["frozen", "two-phase", "thesis"]


@dataclass(frozen=True)
class Augmentation:
    """How far an augmented view may differ from its photo, with the meaning of Keras' ImageDataGenerator."""

    rotation: Annotated[float, Knob("Augmentation: degrees, either way", min=0, max=180)]
    shift: Annotated[float, Knob("Augmentation: part of a side, either way", min=0, max=1)]
    # in degrees, not radians: at the thesis' value hardly anything
    shear: Annotated[float, Knob("Augmentation: degrees, either way", min=0, max=60)]
    zoom: Annotated[float, Knob("Augmentation: factors of each axis, between 1 - zoom and 1 + zoom", min=0, max=0.9)]
    flip: Annotated[bool, Knob("Augmentation: mirror every other view")]


@dataclass(frozen=True)
class TrainingConfig:
    """The block ``cnn`` of params.yaml."""

    module: Annotated[
        tuple[str, ...],
        Knob(
            "Backbone: a TF-Hub handle, a SavedModel folder, efficientnet_lite0 to 2, or a name in keras.applications; repeat to lay "
            "the vectors of several end to end"
        ),
    ]
    preprocessing: Preprocessing
    # frozen: logistic regression on cached vectors, solved; the others train by gradient descent; thesis: batch norm by the batch
    recipe: Annotated[Method, Knob("frozen: the head; two-phase: then the backbone's last layers; thesis: all at once")]
    refit: Annotated[bool, Knob("frozen: fit the head on the validation photos too; folds that lack them predict them")]
    augmentations: Annotated[int, Knob("Augmented views a photo, drawn once and cached, for a frozen backbone", min=1)]
    head: Annotated[tuple[int, ...], Knob("two-phase, thesis: units of each hidden layer of the head; repeat for more")]
    dropout: Annotated[float, Knob("Before the first and the last dense layer", min=0, max=0.9)]
    l2: Annotated[float, Knob("Weight decay of the last layer", min=0)]
    epochs: Annotated[int, Knob("Passes over the training photos", min=1)]
    batch: Annotated[int, Knob("Photos a step", min=1)]
    learning_rate: Annotated[float, Knob("Of stochastic gradient descent", min=0)]
    cosine: Annotated[bool, Knob("Let the learning rate fall to 0 along a cosine, or keep it")]
    momentum: Annotated[float, Knob("Of stochastic gradient descent", min=0, max=0.999)]
    label_smoothing: Annotated[float, Knob("Probability given to the wrong classes", min=0, max=0.9)]
    restore_best: Annotated[bool, Knob("Keep the epoch with the lowest validation loss, or the last")]
    # of the phases in which the backbone learns
    patience: Annotated[int, Knob("Epochs without a lower validation loss before training stops; 0: never", min=0)]
    tuned: Annotated[float, Knob("two-phase: share of the backbone's variables, the last, to tune", min=0.01, max=1)]
    tuning_rate: Annotated[float, Knob("two-phase: learning rate of the second phase", min=0)]
    tuning_epochs: Annotated[int, Knob("two-phase: epochs of the second phase, at most", min=1)]
    augmentation: Augmentation


@dataclass(frozen=True)
class NetworkConfig:
    """An entry of ``networks`` in params.yaml: in what a network differs from the others."""

    augment: Annotated[bool, Knob("Train on augmented views")]


@dataclass(frozen=True)
class Recipe:
    """All that decides what a network becomes, saved with it."""

    training: TrainingConfig
    network: NetworkConfig
    seed: int

    @property
    def preprocessing(self) -> Preprocessing:
        """How a photo becomes what the network sees."""
        return self.training.preprocessing

    def at(self, size: int) -> Self:
        """The same, its photos squares of ``size`` pixels a side."""
        preprocessing = replace(self.preprocessing, size=size)
        return replace(self, training=replace(self.training, preprocessing=preprocessing))
