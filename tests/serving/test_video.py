"""Video clips: frames, broken and hostile files, the majority vote, the command line."""

import csv
import functools
import itertools
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import SIDE, Script, preprocessing

from landmarks.common.errors import InputError
from landmarks.demo import renderer
from landmarks.images import decoding
from landmarks.serving import inputs, video

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
WIDE, HIGH = 320, 240
OPTIONS = ("--unchecked", "--threshold", 0, "--window", 3)


@functools.cache
def view(landmark: int) -> decoding.Picture:
    return cv2.resize(decoding.decode(renderer.photo(7, landmark, 0)), (WIDE, HIGH))


def film(path: Path, landmarks: list[int], rate: float = 5) -> Path:
    """A clip that shows each of ``landmarks`` for a second, or for a frame if there is less than one a second."""
    clip = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*CODECS[path.suffix]), rate, (WIDE, HIGH))
    assert clip.isOpened()
    for landmark in landmarks:
        for _ in range(max(int(rate), 1)):
            clip.write(view(landmark))
    clip.release()
    return path


def frames(path: Path) -> list[tuple[int, decoding.Picture]]:
    """Every second of a clip, and its first frame as the network of the tests takes it."""
    with video.open_clip(path) as clip:
        return list(clip.frames(preprocessing()))


def duration(path: Path) -> float:
    with video.open_clip(path) as clip:
        return clip.duration


@pytest.mark.parametrize("ending", CODECS)
def test_one_frame_a_second_is_preprocessed_as_a_photo(ending: str, tmp_path: Path) -> None:
    clip = film(tmp_path / f"clip{ending}", [1, 1, 2])
    decoded = frames(clip)
    assert [second for second, _ in decoded] == [0, 1, 2]
    for (_, frame), landmark in zip(decoded, (1, 1, 2), strict=True):
        assert abs(frame.astype(int) - preprocessing().fit(view(landmark))).mean() < 5
    assert duration(clip) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(("rate", "seconds"), [(29.97, [0, 1, 2]), (1, [0, 1, 2]), (0.5, [0, 2, 4])])
def test_seconds_are_those_of_the_clock_at_any_frame_rate(rate: float, seconds: list[int], tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", [1, 2, 3], rate)
    assert [second for second, _ in frames(clip)] == seconds


def test_a_truncated_clip_has_frames_up_to_its_end(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mkv", [1] * 8)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    seconds = [second for second, _ in frames(clip)]
    assert seconds == list(range(len(seconds)))
    assert 0 < len(seconds) < 8
    assert duration(clip) == pytest.approx(8, abs=0.1)


def test_an_old_mov_without_ftyp_is_read(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mov", [1, 2])
    clip.write_bytes(clip.read_bytes().replace(b"ftyp", b"wide", 1))
    assert len(frames(clip)) == 2


def test_a_name_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", [1]).rename(tmp_path / os.fsdecode(b"clip\xe9.mp4"))
    with pytest.raises(InputError, match="not UTF-8"):
        frames(clip)


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
def test_a_file_that_is_no_clip_is_an_error_with_its_reason(content: bytes | None, reason: str, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    if content is not None:
        clip.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        frames(clip)


@given(st.binary(max_size=3000), st.integers(0, 20_000))
def test_a_damaged_clip_has_frames_or_a_reason(tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole = folder / "whole.mkv"
    if not whole.exists():
        film(whole, [1, 2])
    content = whole.read_bytes()
    clip = folder / "damaged.mkv"
    clip.write_bytes(content[:at] + noise + content[at + len(noise) :])
    try:
        for second, frame in frames(clip):
            assert second >= 0
            assert frame.shape == (SIDE, SIDE, 3)
    except InputError:
        pass


Votes = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), min_size=1, max_size=30)


@given(Votes, st.integers(1, 9))
def test_the_majority_is_the_most_frequent_label_around_each_frame(votes: list[tuple[str, float]], window: int) -> None:
    labels, confidences = (list(column) for column in zip(*votes, strict=True))
    majority = video.majority_vote(labels, confidences, window)
    assert len(majority) == len(labels)
    for number, label in enumerate(majority):
        near = Counter(labels[max(number - (window - 1) // 2, 0) : number + window // 2 + 1])
        assert near[label] == max(near.values())
    if window == 1:
        assert majority == labels


def test_a_single_frame_is_outvoted_and_a_tie_goes_to_the_higher_confidence() -> None:
    assert video.majority_vote(list("aabaa"), [0.5] * 5, 3) == list("aaaaa")
    assert video.majority_vote(list("ab"), [0.6, 0.9], 3) == ["b", "b"]


def test_clips_are_recognised_by_name_and_found_in_folders(tmp_path: Path) -> None:
    for name in ("a.MP4", "b.webm", "c.jpg", "d.txt"):
        (tmp_path / name).touch()
    names = inputs.expand_folders([str(tmp_path)])
    kinds = [(Path(name).name, inputs.is_clip(name)) for name in names]
    assert kinds == [("a.MP4", True), ("b.webm", True), ("c.jpg", False)]
    assert not inputs.is_clip("http://host/a.mp4")


@pytest.fixture
def clips(photo: bytes, tmp_path: Path) -> Path:
    """A folder: a clip of four seconds, a damaged one, a photo, and a clip whose second half is missing."""
    whole = film(tmp_path / "1.mp4", [1, 2, 2, 1])
    (tmp_path / "2.mp4").write_bytes(whole.read_bytes()[:5000])
    (tmp_path / "3.jpg").write_bytes(photo)
    cut = film(tmp_path / "4.mkv", [1] * 8)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    return tmp_path


def test_a_clip_has_a_prediction_for_each_second(
    script: Script, untrained: Path, answering: "Predictor", clips: Path
) -> None:
    done = script("predict", clips, "--model", untrained, *OPTIONS, "--json")
    assert done.returncode == 1
    lasts = r"4.mkv: lasts 8 seconds by its header; the last frame that could be read is at 0:0[1-5]\n"
    assert re.search(lasts, done.stderr)
    rows = [row for row in json.loads(done.stdout)["predictions"] if not row["photo"].endswith("4.mkv")]
    *seconds, damaged, last = rows
    assert [row["second"] for row in seconds] == [0, 1, 2, 3]
    predictions = answering.predict([picture for _, picture in frames(clips / "1.mp4")], 1)
    labels = [prediction.top[0].label for prediction in predictions]
    assert [row["label"] for row in seconds] == labels
    confidences = [row["confidence"] for row in seconds]
    assert [row["majority"] for row in seconds] == video.majority_vote(labels, confidences, 3)
    reason = "the clip does not open: it is damaged, or has no picture"
    assert damaged == {"photo": str(clips / "2.mp4"), "error": reason}
    assert last["known"]


@pytest.mark.slow
def test_the_table_has_seconds_and_a_summary(script: Script, untrained: Path, clips: Path) -> None:
    """By the command line, because a name that is not UTF-8 has to be printed."""
    (clips / "4.mkv").unlink()
    (clips / "2.mp4").rename(clips / os.fsdecode(b"\xe9.mp4"))
    done = script("predict", clips, "--model", untrained, *OPTIONS)
    assert done.returncode == 1
    assert "not UTF-8" in done.stdout
    *table, summary = done.stdout.splitlines()
    clip = clips / "1.mp4"
    rows = [re.split(r" {2,}", line) for line in table if line.startswith(f"{clip} ")]
    assert [row[0] for row in rows] == [f"{clip} 0:0{second}" for second in range(4)]
    assert summary.startswith(f"{clip}: 0:00-")
    changes = sum(one[1] != other[1] for one, other in itertools.pairwise(rows))
    assert summary.count("-0:") == 1 + changes
    assert "moov" not in done.stderr  # FFmpeg's own messages are off


def test_the_csv_has_a_row_for_each_second_with_its_majority(script: Script, untrained: Path, clips: Path) -> None:
    sources = (clips / name for name in ("1.mp4", "3.jpg", "2.mp4"))
    done = script("predict", *sources, "--model", untrained, *OPTIONS, "--csv")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["second"] for row in rows] == ["0", "1", "2", "3", "", ""]
    labels, confidences = [row["label"] for row in rows[:4]], [float(row["confidence"]) for row in rows[:4]]
    assert [row["majority"] for row in rows] == [*video.majority_vote(labels, confidences, 3), "", ""]
    assert [bool(row["error"]) for row in rows] == [False] * 5 + [True]
