"""Rows added to a catalogue cost what they cost; rows taken out of it leave nothing behind."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Clone, Host, Script, small_clone

from landmarks.classical import features_file, reuse
from landmarks.common import files
from landmarks.demo import renderer

LANDMARKS = (1, 2, 3)


def counted(said: str) -> list[tuple[int, int]]:
    """What download, anonymize and keypoints say: asked, examined, described now; and of how many."""
    return [
        (int(now), int(all_))
        for now, all_ in re.findall(r"^(?:download|anonymize|keypoints): (\d+) of (\d+)", said, re.MULTILINE)
    ]


class Catalogue(Clone):
    """A clone that photographs what a table of addresses on a real host has, up to its keypoints."""

    def repro(self, host: Host, views: dict[int, list[int]], per_class: int) -> list[tuple[int, int]]:
        rows = [f"p{k}_{view},{host.url}/photo/{k}-{view}.jpg,{k}\n" for k, of in views.items() for view in of]
        (self.folder / "data" / "mine.csv").write_text("id,url,landmark_id\n" + "".join(rows))
        params = (self.folder / "params.yaml").read_text()
        params = re.sub(r"per_class: \d+", f"per_class: {per_class}", params)
        params = params.replace("unknown: 6 ", "unknown: 0 ").replace("loopback: false", "loopback: true")
        params = params.replace("source: data/demo/world.yaml", "source: data/mine.csv")
        (self.folder / "params.yaml").write_text(params)
        return counted(self.dvc("repro", "keypoints@orb"))

    def photos(self, folder: str) -> dict[str, int]:
        """When each was written."""
        return {path.stem: path.stat().st_mtime_ns for path in (self.folder / "data" / folder).iterdir()}

    def described(self) -> features_file.Features:
        return features_file.read(self.folder / "data" / "keypoints" / "orb.arrow")


@pytest.mark.slow
def test_added_rows_alone_are_fetched_examined_and_described_and_a_removed_row_leaves_nothing(
    host: Host, tmp_path: Path
) -> None:
    clone = Catalogue(small_clone(tmp_path).folder)
    views = {landmark: list(range(8)) for landmark in LANDMARKS}
    assert clone.repro(host, views, 8) == [(24, 24)] * 3
    before = clone.photos("anonymous")

    views = {landmark: list(range(10)) for landmark in LANDMARKS}
    assert clone.repro(host, views, 10) == [(6, 30)] * 3
    assert sum(host.asked.values()) == len(host.asked) == 30
    assert before.items() <= clone.photos("anonymous").items()  # not written again
    lock = (clone.folder / "dvc.lock").read_bytes()
    (clone.folder / "data" / "keypoints" / ".orb.json").unlink()
    assert counted(clone.dvc("repro", "--force", "--single-item", "keypoints@orb")) == [(30, 30)]
    assert (clone.folder / "dvc.lock").read_bytes() == lock  # described one by one or all at once

    views = {landmark: [view for view in range(10) if view] for landmark in LANDMARKS}
    assert clone.repro(host, views, 9) == [(0, 27)] * 3
    assert sum(host.asked.values()) == 30
    left = {f"p{landmark}_{view}" for landmark in LANDMARKS for view in range(1, 10)}
    assert set(clone.photos("images")) == set(clone.photos("anonymous")) == set(clone.described().ids) == left
    for table in ("download.csv", "photos.csv", "faces.json", "keypoints/.orb.json"):
        assert "p1_0" not in (clone.folder / "data" / table).read_text()


@pytest.mark.slow
def test_a_row_is_taken_over_only_of_the_same_bytes_under_the_same_settings_from_a_file_that_is_whole(
    script: Script, photos: Path, tmp_path: Path
) -> None:
    shown, described = tmp_path / "images", tmp_path / "orb.arrow"
    shutil.copytree(photos / "images", shown)
    arguments = [photos / "photos.csv", shown, described, tmp_path / "orb.png", tmp_path / "counts.json"]
    assert counted(script("keypoints", *arguments, "--detector", "orb").stdout) == [(36, 36)]
    made_by = reuse.identity(features_file.read(described).settings, ROOT / "src" / "keypoints.py")
    hashes = {path.stem: files.sha256(path) for path in shown.iterdir()}
    taken = reuse.earlier(described, made_by, hashes)
    assert set(taken) == set(hashes)
    assert set(reuse.earlier(described, made_by, {**hashes, "p1_00": "other"})) == set(hashes) - {"p1_00"}
    for other in ({"count": 3}, {"code": "other"}, {"opencv": "4.0.0"}):
        assert not reuse.earlier(described, {**made_by, **other}, hashes)
    note = tmp_path / ".orb.json"
    sound = note.read_bytes()
    for harm in (b"", b"{}", b"[1]", sound[:-20]):
        note.write_bytes(harm)
        assert not reuse.earlier(described, made_by, hashes)
    note.write_bytes(sound)
    described.write_bytes(described.read_bytes()[:-9] + b"012345678")  # rotten on disk
    assert not reuse.earlier(described, made_by, hashes)
    shutil.copy(shown / "p1_01.jpg", shown / "p1_00.jpg")
    assert counted(script("keypoints", *arguments, "--detector", "orb").stdout) == [(36, 36)]
    (shown / "p1_02.jpg").write_bytes(renderer.photo(8, 1, 2))
    (shown / "p1_03.jpg").unlink()
    assert counted(script("keypoints", *arguments, "--detector", "orb").stdout) == [(1, 35)]
    first, second, *_ = features_file.read(described).values
    np.testing.assert_array_equal(first, second)
