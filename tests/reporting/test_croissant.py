"""The dataset as programs read it: docs/croissant.json."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from landmarks.common.files import sha256
from landmarks.reporting import croissant


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The metadata of three photos, in a repository with its docs/ and data/."""
    split = tmp_path / "data" / "split.csv"
    split.parent.mkdir()
    split.write_text("id,landmark_id,split,group\na,Torre Añil,train,0\nb,2,validation,1\nc,2,test,2\n")
    path = tmp_path / "docs" / "croissant.json"
    croissant.write(path, 'my "photos"', ["2", "Torre Añil"], {"train": 1, "validation": 1, "test": 1}, ["MIT"], split)
    return path


def test_it_says_where_the_photos_are_and_what_their_table_holds(written: Path) -> None:
    dataset = json.loads(written.read_text())
    table, photos = dataset["distribution"]
    assert sha256(written.parent / table["contentUrl"]) == table["sha256"]
    assert (written.parent / photos["includes"]).parent == written.parent / ".." / "data" / "anonymous"
    columns = [field["source"]["extract"]["column"] for field in dataset["recordSet"][0]["field"]]
    assert columns == ["id", "landmark_id", "split"]
    assert 'my "photos": photos of 2 landmarks (1 for train, 1 for validation, 1 for test)' in dataset["description"]


@pytest.mark.nightly
def test_it_is_valid_by_the_validator_of_the_format_which_reads_its_rows(written: Path) -> None:
    pytest.importorskip("uv")  # it fetches the validator, 60 MB that nothing else here needs
    validator = (sys.executable, "-m", "uv", "tool", "run", "--quiet", "--from", "mlcroissant==1.1.1", "mlcroissant")
    done = subprocess.run([*validator, "validate", "--jsonld", written], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()
    load = ("load", "--jsonld", written, "--record_set", "rows", "--num_records", "3")
    assert "Torre A" in subprocess.run([*validator, *load], capture_output=True, text=True, check=True).stdout
