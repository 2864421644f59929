"""A clip goes in, the place by second comes out."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from conftest import SIDE, Script
from hypothesis import given, settings
from hypothesis import strategies as st

from landmarks.common.errors import InputError
from landmarks.demo import renderer
from landmarks.images import decoding
from landmarks.serving import inputs, video

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
WIDE, HIGH = 320, 240


def place(landmark: int) -> decoding.Picture:
    """What a camera that is held still sees of a landmark."""
    return cv2.resize(decoding.decode(renderer.photo(7, landmark, 0)), (WIDE, HIGH))


def film(path: Path, landmarks: list[int], rate: float = 5) -> Path:
    """A clip that shows each of ``landmarks`` for a second, or for a frame if there is less than one a second."""
    clip = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*CODECS[path.suffix]), rate, (WIDE, HIGH))
    assert clip.isOpened()
    for landmark in landmarks:
        for _ in range(max(int(rate), 1)):
            clip.write(place(landmark))
    clip.release()
    return path


@pytest.mark.parametrize("ending", CODECS)
def test_a_frame_a_second_is_seen_as_a_photo_of_it_would_be(ending: str, tmp_path: Path) -> None:
    clip = film(tmp_path / f"clip{ending}", [1, 1, 2])
    found = list(video.frames(clip, SIDE, crop=True))
    assert [second for second, _ in found] == [0, 1, 2]
    for (_, seen), landmark in zip(found, (1, 1, 2), strict=True):
        assert abs(seen.astype(int) - decoding.fit(place(landmark), SIDE, crop=True)).mean() < 5
    assert video.length(clip) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(("rate", "seconds"), [(29.97, [0, 1, 2]), (1, [0, 1, 2]), (0.5, [0, 2, 4])])
def test_seconds_are_those_of_the_clock_whatever_the_rate(rate: float, seconds: list[int], tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", [1, 2, 3], rate)
    assert [second for second, _ in video.frames(clip, SIDE, crop=True)] == seconds


def test_a_clip_that_is_cut_off_is_seen_up_to_there(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mkv", [1] * 8)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    seen = [second for second, _ in video.frames(clip, SIDE, crop=True)]
    assert seen == list(range(len(seen)))
    assert 0 < len(seen) < 8
    assert video.length(clip) == pytest.approx(8, abs=0.1)


def test_a_camera_that_is_older_than_its_format_is_understood(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mov", [1, 2])
    clip.write_bytes(clip.read_bytes().replace(b"ftyp", b"wide", 1))
    assert len(list(video.frames(clip, SIDE, crop=True))) == 2


def test_a_name_that_is_not_utf_8_is_refused_with_its_reason(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", [1]).rename(tmp_path / os.fsdecode(b"clip\xe9.mp4"))
    with pytest.raises(InputError, match="not UTF-8"):
        list(video.frames(clip, SIDE, crop=True))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        (b"", "not a clip"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "not a clip"),
        (renderer.photo(7, 1, 0), "not a clip"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 100, "does not open"),
        (b"RIFF\xff\0\0\0AVI " + b"\0" * 100, "does not open|no frame can"),
        (b"\x1a\x45\xdf\xa3" + b"\0" * 100, "does not open"),
    ],
)
def test_what_is_no_clip_is_refused_with_its_reason(content: bytes | None, reason: str, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    if content is not None:
        clip.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        list(video.frames(clip, SIDE, crop=True))


@settings(deadline=None)  # the first one makes the clip
@given(st.binary(max_size=3000), st.integers(0, 20_000))
def test_damage_never_ends_in_anything_but_frames_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole = folder / "whole.mkv"
    if not whole.exists():
        film(whole, [1, 2])
    content = whole.read_bytes()
    clip = folder / "damaged.mkv"
    clip.write_bytes(content[:at] + noise + content[at + len(noise) :])
    try:
        for second, seen in video.frames(clip, SIDE, crop=True):
            assert second >= 0
            assert seen.shape == (SIDE, SIDE, 3)
    except InputError:
        pass


Votes = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), min_size=1, max_size=30)


@given(Votes, st.integers(1, 9))
def test_the_majority_is_what_most_frames_around_show(votes: list[tuple[str, float]], window: int) -> None:
    labels, confidences = (list(column) for column in zip(*votes, strict=True))
    said = video.majority(labels, confidences, window)
    assert len(said) == len(labels)
    for number, label in enumerate(said):
        near = Counter(labels[max(number - (window - 1) // 2, 0) : number + window // 2 + 1])
        assert near[label] == max(near.values())
    if window == 1:
        assert said == labels


def test_one_frame_does_not_change_the_place_and_of_equals_the_surer_counts() -> None:
    assert video.majority(list("aabaa"), [0.5] * 5, 3) == list("aaaaa")
    assert video.majority(list("ab"), [0.6, 0.9], 3) == ["b", "b"]


def test_clips_are_told_by_their_names_and_found_in_folders(tmp_path: Path) -> None:
    for name in ("a.MP4", "b.webm", "c.jpg", "d.txt"):
        (tmp_path / name).touch()
    found = inputs.listed([str(tmp_path)])
    assert [(Path(source).name, inputs.is_clip(source)) for source in found] == [
        ("a.MP4", True),
        ("b.webm", True),
        ("c.jpg", False),
    ]
    assert not inputs.is_clip("http://host/a.mp4")


@pytest.mark.slow
def test_the_command_tells_the_place_by_second_and_goes_on_after_a_bad_clip(
    script: Script, untrained: Path, answering: Predictor, photo: bytes, tmp_path: Path
) -> None:
    clip = film(tmp_path / "1.mp4", [1, 2, 2, 1])
    (tmp_path / "2.mp4").write_bytes(clip.read_bytes()[:5000])
    cut = film(tmp_path / "4.mkv", [1] * 8)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (tmp_path / "3.jpg").write_bytes(photo)
    options = (tmp_path, "--model", untrained, "--unchecked", "--threshold", 0, "--window", 3)
    done = script("predict", *options, "--json")
    assert done.returncode == 1
    assert re.search(r"4.mkv: 8 seconds, it says; the last frame seen is of 0:0[1-5]\n", done.stderr)
    *seconds, bad, last = [row for row in json.loads(done.stdout)["predictions"] if row["photo"] != str(cut)]
    assert [row["second"] for row in seconds] == [0, 1, 2, 3]
    shown = [picture for _, picture in video.frames(clip, SIDE, crop=True)]
    labels = [answering.network.labels[best] for best in answering.run(np.stack(shown))[1].argmax(axis=1)]
    assert [row["label"] for row in seconds] == labels
    confidences = [row["confidence"] for row in seconds]
    assert [row["majority"] for row in seconds] == video.majority(labels, confidences, 3)
    assert bad == {
        "photo": str(tmp_path / "2.mp4"),
        "error": "the clip does not open: it is damaged, or has no picture",
    }
    assert last["known"]

    cut.unlink()
    rows = list(csv.DictReader(io.StringIO(script("predict", *options, "--csv").stdout)))
    assert [row["second"] for row in rows] == ["0", "1", "2", "3", "", ""]
    assert [row["majority"] for row in rows[:4]] == [row["majority"] for row in seconds]

    clip.with_name("2.mp4").rename(clip.with_name(os.fsdecode(b"\xe9.mp4")))
    said = script("predict", *options)
    assert "not UTF-8" in said.stdout
    assert f"{clip} 0:03" in said.stdout
    assert said.stdout.splitlines()[-1].startswith(f"{clip}: 0:00-")
    assert said.stdout.splitlines()[-1].count("-0:") == 1 + sum(
        one["majority"] != other["majority"] for one, other in itertools.pairwise(seconds)
    )
    assert "moov" not in said.stderr
