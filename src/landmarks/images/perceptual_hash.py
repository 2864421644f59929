"""What a photo shows, in 256 bits: few of them change if it is scaled, compressed, recoloured or cut by a few pixels."""

import cv2
import numpy as np

from landmarks.images.decoding import Picture

SIDE = 16  # lowest frequencies across and down
SCALED = 64  # pixels a side of what they are taken from


def perceptual_hash(picture: Picture) -> str:
    """Hash a photo (uint8 BGR): the signs of its 16 x 16 lowest frequencies, as 64 hexadecimal digits.

    A DCT of the photo squeezed to 64 x 64 grey pixels, row by row, as pHash has it (Zauner, 2010), which compares with the
    median; signs make the hash of the mirrored photo follow from this one: ``landmarks.dataset.near_duplicates``.
    """
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (SCALED, SCALED), interpolation=cv2.INTER_AREA)
    positive = cv2.dct(grey.astype(np.float32))[:SIDE, :SIDE] > 0
    positive[0, 0] = False  # the mean is exposure, not content
    return np.packbits(positive).tobytes().hex()
