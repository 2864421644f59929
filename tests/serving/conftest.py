"""One server for all tests that only send requests to it."""

from collections.abc import Iterator
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

    attribution = split.with_name("attribution.csv")
    attribution.write_text("id,url,author,license,title\np1_00,https://example.org/1,Ada,CC BY 4.0,Bridge\n")
    index = photo_index.build(answering, photos / "images", split, attribution)
    with running_server(answering, build_index=lambda _: index) as url:
        yield url
