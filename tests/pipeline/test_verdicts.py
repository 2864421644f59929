"""What people decide about faces is an input of the experiment; the page on which they do is in no repository."""

import json
import sys

import pytest
import yaml
from support import Clone

from landmarks.privacy import verdicts


@pytest.mark.slow
def test_a_verdict_runs_the_gate_again_on_its_photo_alone(clone: Clone) -> None:
    data = clone.folder / "data"
    photos = json.loads((data / "faces.json").read_text())["photos"]
    photo, record = next((photo, record) for photo, record in photos.items() if record["faces"])
    face = record["faces"][0]
    before = {path.name: path.stat().st_mtime_ns for path in (data / "anonymous").iterdir()}
    with (data / "verdicts.csv").open("a") as file:
        box = ",".join(str(face[side]) for side in verdicts.SIDES)
        file.write(f"{record['source']},{photo},{box},not_a_face\n")
    printed = clone.dvc("repro", "anonymize")
    assert f"1 of {len(photos)} photos examined" in printed
    assert printed.count("Running stage") == 1
    after = {path.name: path.stat().st_mtime_ns for path in (data / "anonymous").iterdir()}
    assert dict(before.items() ^ after.items()).keys() == {f"{photo}.jpg"}
    lock = yaml.safe_load((clone.folder / "dvc.lock").read_text())["stages"]["anonymize"]
    assert "data/verdicts.csv" in [dep["path"] for dep in lock["deps"]]
    changed = {line[3:] for line in clone.git("status", "--porcelain").splitlines()}
    assert {"data/verdicts.csv", "dvc.lock"} <= changed  # git has the decision, DVC what it led to
    assert "data/verdicts.csv" not in clone.git("ls-files", "--others", "--exclude-standard")


@pytest.mark.slow
def test_the_page_is_known_to_neither_git_nor_dvc(clone: Clone) -> None:
    printed = clone.run(sys.executable, "src/review.py")
    assert "then run: dvc repro" in printed
    assert (clone.folder / "review.html").read_text().startswith("<!-- PRIVATE")
    assert clone.git("status", "--porcelain") == ""
    assert "review.html" not in clone.dvc("status", "anonymize", "gallery")
