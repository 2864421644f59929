"""How a photo becomes what a network sees: one object, saved with the model, used in training, prediction and export alike."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np

from landmarks.common.errors import InputError
from landmarks.common.knobs import Knob
from landmarks.images import decoding
from landmarks.images.decoding import Picture


@dataclass(frozen=True)
class Preprocessing:
    """Size, crop and range of pixel values."""

    size: Annotated[int, Knob("Pixels a side that the backbone takes; 0: as it says itself", min=0)]
    low: Annotated[float, Knob("Lowest pixel value that the backbone takes (keras.applications have their own)")]
    high: Annotated[float, Knob("Highest pixel value that the backbone takes")]
    crop: Annotated[bool, Knob("Take the middle square of a photo, or squash all of it")]

    def read(self, path: Path) -> Picture:
        """The photo in a file: uint8 RGB (size, size, 3). Raises ``InputError`` if it does not decode."""
        try:
            return self.decode(path.read_bytes())
        except InputError as error:
            raise decoding.unreadable(path, error) from None

    def decode(self, content: bytes) -> Picture:
        """The photo in memory, at the smallest JPEG scale that suffices. Raises ``InputError`` as ``decoding.decode`` does."""
        (width, height), *_ = head = decoding.header(content)
        least = -(-self.size * max(width, height) // min(width, height)) if self.crop else self.size
        return self.fit(decoding.decode(head, least, exact=False))

    def fit(self, picture: Picture) -> Picture:
        """A decoded picture, uint8 BGR (height, width, 3): its middle square, or all of it squashed as in the thesis."""
        if self.crop:
            height, width = picture.shape[:2]
            short = min(height, width)
            top, left = (height - short) // 2, (width - short) // 2
            picture = picture[top : top + short, left : left + short]
        resized = cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(resized[..., ::-1])
