"""How the demo's backbone is trained: every parameter, declared once; the values are those of data/demo/world.yaml."""

from dataclasses import dataclass
from typing import Annotated

from landmarks.common.knobs import Knob


@dataclass(frozen=True)
class BackboneConfig:
    """The block ``backbone`` of a world file."""

    landmarks: Annotated[int, Knob("How many landmarks it learns to tell apart", min=2)]
    views: Annotated[int, Knob("Photos of each", min=1)]
    size: Annotated[int, Knob("Pixels a side", min=32)]
    alpha: Annotated[float, Knob("Width of MobileNetV2: 0.35, 0.5, 0.75, 1.0")]
    epochs: Annotated[int, Knob("Passes over the photos", min=1)]
    batch: Annotated[int, Knob("Photos a step", min=1)]
    learning_rate: Annotated[float, Knob("Of Adam, at the start; it falls to 0 along a cosine", min=0)]
    seed: Annotated[int, Knob("Of the training")]
