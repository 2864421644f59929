"""Only rows that were added to a catalogue cost time; rows that were removed leave nothing behind."""

import re
from pathlib import Path

import pytest
from support import Clone, Host, small_clone

from landmarks.classical import features_file
from landmarks.common.result_cache import path_for

LANDMARKS = (1, 2, 3)


def counted(stdout: str) -> list[tuple[int, int]]:
    """What download, anonymize and keypoints print: photos asked for, examined, described now; of how many."""
    found = re.findall(r"^(?:download|anonymize|keypoints@orb) +(\d+) of (\d+)", stdout, re.MULTILINE)
    return [(int(now), int(of)) for now, of in found]


class Catalogue(Clone):
    """A clone that photographs what a table of addresses on a real host has, up to its keypoints."""

    def repro(self, host: Host, views: dict[int, list[int]], per_class: int) -> list[tuple[int, int]]:
        rows = [f"p{k}_{view},{host.url}/photo/{k}-{view}.jpg,{k}\n" for k, of in views.items() for view in of]
        (self.folder / "data" / "mine.csv").write_text("id,url,landmark_id\n" + "".join(rows))
        params = (self.folder / "params.yaml").read_text()
        params = re.sub(r"per_class: \d+", f"per_class: {per_class}", params)
        params = (
            params.replace("unknown: 6 ", "unknown: 0 ")
            .replace("folds: 3", "folds: 2")
            .replace("loopback: false", "loopback: true")
        )
        params = params.replace("source: data/demo/world.yaml", "source: data/mine.csv").replace(
            "data/demo/elsewhere.yaml", "data/external.csv"
        )
        (self.folder / "params.yaml").write_text(params)
        return counted(self.dvc("repro", "keypoints@orb"))

    def photos(self, folder: str) -> dict[str, int]:
        """When each was written."""
        return {path.stem: path.stat().st_mtime_ns for path in (self.folder / "data" / folder).iterdir()}

    def described(self) -> features_file.Features:
        return features_file.read(self.folder / "data" / "keypoints" / "orb.arrow")


@pytest.mark.slow
def test_added_rows_alone_are_worked_on_and_a_removed_row_leaves_nothing(host: Host, tmp_path: Path) -> None:
    clone = Catalogue(small_clone(tmp_path).folder)
    views = {landmark: list(range(4)) for landmark in LANDMARKS}
    assert clone.repro(host, views, 4) == [(12, 12)] * 3
    before = clone.photos("anonymous")

    views = {landmark: list(range(6)) for landmark in LANDMARKS}
    assert clone.repro(host, views, 6) == [(6, 18)] * 3
    assert sum(host.asked.values()) == len(host.asked) == 18
    assert before.items() <= clone.photos("anonymous").items()  # not written again
    lock = (clone.folder / "dvc.lock").read_bytes()
    path_for(clone.folder / "data" / "keypoints" / "orb.arrow").unlink()
    assert counted(clone.dvc("repro", "--force", "--single-item", "keypoints@orb")) == [(18, 18)]
    assert (clone.folder / "dvc.lock").read_bytes() == lock  # described one by one or all at once

    views = {landmark: [view for view in range(6) if view] for landmark in LANDMARKS}
    assert clone.repro(host, views, 5) == [(0, 15)] * 3
    assert sum(host.asked.values()) == 18
    left = {f"p{landmark}_{view}" for landmark in LANDMARKS for view in range(1, 6)}
    assert set(clone.photos("images")) == set(clone.photos("anonymous")) == set(clone.described().ids) == left
    for name in ("download.csv", "photos.csv", "faces.json", ".cache/download.sqlite"):
        assert b"p1_0" not in (clone.folder / "data" / name).read_bytes()
