"""One server for all tests that only send requests to it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .server import running_server

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor


@pytest.fixture(scope="session")
def server_url(answering: "Predictor", photos: Path, split: Path) -> Iterator[str]:
    """The address of a server with default limits, no key, and similar photos."""
    from landmarks.serving import photo_index

    build_index = partial(photo_index.build, answering, photos / "images", split)
    with running_server(answering, build_index=build_index) as url:
        yield url
