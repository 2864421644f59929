"""The picture of an upload is the picture of the file that ingest would keep, found with one decoding less."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from landmarks.common.status import StatusError
from landmarks.demo import renderer
from landmarks.images import decoding, jpeg

SHOWN = Image.open(io.BytesIO(renderer.photo(7, 1, 0))).resize((200, 150))
END = b"\xff\xd9"


def outcome(decode: Callable[[bytes], decoding.Picture], content: bytes) -> tuple[Any, ...]:
    try:
        picture = decode(content)
    except StatusError as error:
        return (error.status,)
    return picture.shape, picture.tobytes()


@given(
    mode=st.sampled_from(["RGB", "L", "CMYK"]),
    options=st.sampled_from([{}, {"progressive": True}, {"restart_marker_rows": 1}, {"quality": 100}]),
    orientation=st.sampled_from([1, 6]),
    side=st.sampled_from([16, 40, 90, 200, 400]),
    part=st.one_of(st.none(), st.floats(0.05, 1)),
)
def test_an_upload_is_decoded_or_refused_as_the_file_that_is_kept(
    mode: str, options: dict[str, Any], orientation: int, side: int, part: float | None
) -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    SHOWN.convert(mode).save(file, "JPEG", exif=exif, **options)
    content = file.getvalue()
    if part is not None:
        content = content[: int(len(content) * part)].removesuffix(END) + END
    pictures = (
        lambda given: jpeg.decode(given, lambda longer, shorter: side),
        lambda given: decoding.decode(jpeg.keep(given).content, side, exact=False),
    )
    one, other = (outcome(decode, content) for decode in pictures)
    assert one == other


def test_a_usual_photo_is_not_decoded_for_ingest(monkeypatch: pytest.MonkeyPatch) -> None:
    content = renderer.photo(7, 2, 0)
    wanted = decoding.decode(jpeg.keep(content).content, 200, exact=False)
    monkeypatch.delattr(jpeg, "keep")
    assert np.array_equal(jpeg.decode(content, lambda longer, shorter: 200), wanted)
