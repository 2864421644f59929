"""A path of this machine may be written as a URL in every way that programs write it."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import examples

from landmarks.common.file_urls import local_path

# names as file systems take them: any bytes but the separator and zero
NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: not {0, ord("/")} & set(name)).map(os.fsdecode)


@given(parts=st.lists(NAMES, min_size=1, max_size=3))
@settings(max_examples=examples(100))
def test_a_path_is_that_of_the_url_that_python_writes_for_it(parts: list[str]) -> None:
    path = Path("/", *parts)
    uri = path.as_uri()
    for url in (
        uri,
        uri.replace("file:///", "file:/"),
        uri.replace("file:///", "FILE:///"),
        uri.replace("file:///", "file://localhost/"),
        uri.replace("file:///", "file://LocalHost/"),
    ):
        assert local_path(url) == path
    assert local_path(str(path)) == path


@given(name=NAMES)
@settings(max_examples=examples(20))
def test_a_path_that_nobody_encoded_is_that_of_the_file_that_is_there(name: str) -> None:
    assume(name not in (".", ".."))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.touch()
        assert local_path(f"file://{path}") == path
        assert local_path(f"file:{path}") == path


@pytest.mark.parametrize("name", ["50%.jpg", "a%20b.jpg", "a#b?c.jpg", "añil.jpg", "%00.jpg", os.fsdecode(b"caf\xe9")])
def test_of_two_files_the_decoded_name_counts(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert local_path((tmp_path / name).as_uri()) == tmp_path / name
    (tmp_path / "a b.jpg").touch()
    assert local_path(f"file://{tmp_path}/a%20b.jpg") == tmp_path / "a b.jpg"


@given(url=st.text() | st.text("file:/localhost%0aF~.?#\\é\x00 \ud800\udce9").map("file:".__add__))
@settings(max_examples=examples(200))
def test_every_text_is_a_path(url: str) -> None:
    assert isinstance(local_path(url), Path)
    assert isinstance(local_path("file:///" + "x" * 5000 + url), Path)
