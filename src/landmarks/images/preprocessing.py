"""How a photo becomes what a network sees: one object, saved with the model, used in training, prediction and export alike."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import cv2
import numpy as np

from landmarks.common.errors import InputError
from landmarks.common.knobs import Knob
from landmarks.common.status import StatusError
from landmarks.images import decoding
from landmarks.images.decoding import Picture
from landmarks.images.photo_store import Photo

View = Literal["middle", "squashed", "top_left", "bottom_right", "mirror"]
CORNER = 4, 5  # a corner view has this share of the shorter side
UPRIGHT = ("middle", "squashed")  # views that show on the photo where a place in them lies


@dataclass(frozen=True)
class Preprocessing:
    """Size, views and range of pixel values.

    What a network sees of a photo are its views, one below the other in one picture of ``shape``.
    """

    size: Annotated[int, Knob("Pixels a side that the backbone takes; 0: as it says itself", min=0)]
    low: Annotated[float, Knob("Lowest pixel value that the backbone takes (keras.applications have their own)")]
    high: Annotated[float, Knob("Highest pixel value that the backbone takes")]
    views: Annotated[
        tuple[View, ...],
        Knob(
            "Squares of a photo, whose logits are averaged: its middle, all of it squashed, two smaller ones in corners, the "
            "middle's mirror image; repeat for more"
        ),
    ]

    def __post_init__(self) -> None:
        """Raise ``InputError`` unless all views are known, none stands twice, and the first can be explained on the photo."""
        if unknown := set(self.views).difference(get_args(View)):
            raise InputError(f"cnn.views: {min(unknown)!r} is none; there are {', '.join(get_args(View))}")
        if not self.views or self.views[0] not in UPRIGHT or len(set(self.views)) < len(self.views):
            raise InputError(f"cnn.views is {list(self.views)}: give each view once, {' or '.join(UPRIGHT)} first")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what ``read``, ``decode`` and ``fit`` give."""
        return len(self.views) * self.size, self.size, 3

    @property
    def crop(self) -> bool:
        """Whether the first view, which explanations speak of, is the middle square; if not, all of the photo."""
        return self.views[0] == "middle"

    def read(self, photo: Photo) -> Picture:
        """The views of a photo, uint8 RGB of ``shape``. Raises ``InputError`` if it does not decode."""
        try:
            return self.decode(photo.read_bytes())
        except StatusError as error:
            raise decoding.unreadable(photo, error) from None

    def decode(self, content: bytes) -> Picture:
        """The photo in memory, at the smallest JPEG scale that suffices. Raises ``InputError`` as ``decoding.decode`` does."""
        head = decoding.header(content)
        least = long_side(self, max(head.size), min(head.size))
        return self.fit(decoding.decode(head, least, exact=False))

    def fit(self, picture: Picture) -> Picture:
        """The views of a decoded picture, uint8 BGR (height, width, 3)."""
        squares = [self._square(picture, view) for view in self.views]
        return np.ascontiguousarray(np.concatenate(squares)[..., ::-1])

    def _square(self, picture: Picture, view: View) -> Picture:
        top, left, height, width = box(view, picture.shape[0], picture.shape[1], min(picture.shape[:2]))
        cut = picture[top : top + height, left : left + width]
        square = cv2.resize(cut, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.asarray(square[:, ::-1] if view == "mirror" else square, np.uint8)


def box(view: View, height: Any, width: Any, short: Any) -> tuple[Any, Any, Any, Any]:
    """Top, left, height and width of what a view shows of a photo, whose shorter side is ``short``.

    All are numbers of pixels, Python's or TensorFlow's: the exported graph cuts where training did.
    """
    match view:
        case "squashed":
            return 0, 0, height, width
        case "top_left":
            side = corner(short)
            return 0, 0, side, side
        case "bottom_right":
            side = corner(short)
            return height - side, width - side, side, side
        case "middle" | "mirror":
            return (height - short) // 2, (width - short) // 2, short, short


def long_side(preprocessing: Preprocessing, longer: Any, shorter: Any) -> Any:
    """Pixels that the longer side of a photo needs, so that no view is enlarged where the photo has more; numbers as in ``box``."""
    views, size = set(preprocessing.views), preprocessing.size
    if views == {"squashed"}:
        return size
    smallest = corner(shorter) if views.intersection(("top_left", "bottom_right")) else shorter
    return -(-size * longer // smallest)


def corner(short: Any) -> Any:
    """The side of a corner view of a photo whose shorter side is ``short``: at least 1."""
    share, of = CORNER
    return -(-share * short // of)
