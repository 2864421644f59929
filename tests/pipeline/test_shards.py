"""With photos in shards every stage makes the same bytes as with single files, and resumes as it does there."""

import re
from pathlib import Path

import pandas as pd
import pytest
from classical.conftest import ORB
from support import Script

ROWS = [(1, view) for view in range(8)] + [(2, view) for view in range(8)]
QUICK = ("--sizes", 320, "--turned", 0)
DATA = (
    "photos.csv", "faces.json", "quarantine.csv", "split.csv", "unknown.csv", "orb.arrow", "model.json", "history.csv",
    "predictions.parquet", "predictions.suspects.csv", "model.weights.h5",
)  # fmt: skip


def run(script: Script, photos: Path, folder: Path, shard: int, count: int = 5) -> str:
    """The first ``count`` stages from download to cnn; what they print."""
    rows = [(f"p{n}_{view:02}", str(photos / "images" / f"p{n}_{view:02}.jpg"), n, 0) for n, view in ROWS]
    rows.append(("twin", rows[0][1], 1, 0))
    rows.append(("spare", str(photos / "images" / "p1_11.jpg"), 1, 1))  # which replaces the twin
    pd.DataFrame(rows, columns=["id", "url", "landmark_id", "reserve"]).to_csv(folder / "sample.csv", index=False)
    asked, stored = ("--schemes", "file"), ("--shard", shard)

    def at(*names: str) -> list[Path]:
        return [folder / name for name in names]

    stages = [
        ("download", *at("sample.csv", "images", "download.csv", "photos.csv", "counts.json"), *asked, *stored),
        ("anonymize", *at("images", "anonymous", "photos.csv", "faces.json", "quarantine.csv"), *QUICK, *stored),
        ("keypoints", *at("photos.csv", "anonymous", "orb.arrow", "orb.json"), *ORB),
        ("split", *at("photos.csv", "faces.json", "split.csv", "unknown.csv", "counts.json")),
        ("cnn", *at("anonymous", "split.csv", "model.json", "history.csv", "predictions.parquet"), "--no-augment"),
    ]
    done = [script(*stage) for stage in stages[:count]]
    assert [each.stderr for each in done if each.returncode] == []
    return "".join(each.stdout for each in done)


@pytest.mark.slow
def test_stages_make_the_same_bytes_of_shards_as_of_single_files(script: Script, photos: Path, tmp_path: Path) -> None:
    single, sharded = tmp_path / "single", tmp_path / "sharded"
    for folder in (single, sharded):
        folder.mkdir()
    run(script, photos, single, 0)
    run(script, photos, sharded, 5)
    made = [{name: (folder / name).read_bytes() for name in DATA} for folder in (single, sharded)]
    assert made[0] == made[1]
    for name in ("images", "anonymous"):
        shards = sorted(path.name[:5] for path in (sharded / name).glob("*.tar"))
        assert shards == ["00000", "00001", "00002", "00003"]
        assert len(list((sharded / name).iterdir())) == 8  # an index each
    told = run(script, photos, sharded, 0, count=3)  # and back: nothing is fetched, examined or described again
    for line in ("download +0 of 18", "anonymize +0 of 17", "keypoints +0 of 17"):
        assert re.search(line, told)
    made = [{path.name: path.read_bytes() for path in (folder / "anonymous").iterdir()} for folder in (single, sharded)]
    assert made[0] == made[1]
