"""`make own PHOTOS=...`, as a person runs it in a clone: a folder or a table of theirs becomes the experiment."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from support import ROOT, Clone, small_clone

from landmarks.dataset import catalogues
from landmarks.demo import renderer


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """In a folder with a blank; no ñ, since DVC's queue cannot write its settings there."""
    return small_clone(tmp_path / "my clone")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five photos of each of two landmarks, one of a third."""
    folder = tmp_path / "mis 'fotos' $(id)"
    for landmark, name, count in ((1, "Torre Añil", 5), (2, "b", 5), (3, "c", 1)):
        (folder / name).mkdir(parents=True)
        for view in range(count):
            (folder / name / f"{view}.jpg").write_bytes(renderer.photo(7, landmark, view))
    return folder


def own(clone: Clone, source: object) -> subprocess.CompletedProcess[str]:
    """The script that `make own` runs before `dvc repro`."""
    command = [sys.executable, "src/own.py", str(source)]
    return subprocess.run(command, cwd=clone.folder, capture_output=True, text=True, check=False)


def params(clone: Clone) -> dict[str, dict[str, object]]:
    return dict(yaml.safe_load((clone.folder / "params.yaml").read_text()))


@pytest.mark.slow
def test_a_folder_sets_numbers_that_can_be_trained_and_git_takes_them_back(clone: Clone, photos: Path) -> None:
    before = (clone.folder / "params.yaml").read_text()
    done = own(clone, photos)
    assert done.returncode == 0, done.stderr
    now = params(clone)
    assert now["catalogue"]["source"] == str(photos)
    assert {name: now["sample"][name] for name in ("classes", "per_class", "unknown")} == {
        "classes": 2, "per_class": 5, "unknown": 1,
    }  # fmt: skip
    assert now["pca"]["n"] == 4
    assert now["report"]["title"] == f"photos of {photos.name}"
    assert now["cnn"]["module"] == ["efficientnet_lite0", "efficientnet_lite2"]
    assert "sample.classes: 3 -> 2" in done.stdout
    assert "Back: git checkout params.yaml" in done.stdout
    assert own(clone, photos).returncode == 0
    assert params(clone) == now
    assert before.count("#") == (clone.folder / "params.yaml").read_text().count("#")
    clone.git("checkout", "params.yaml")
    assert (clone.folder / "params.yaml").read_text() == before


@pytest.mark.slow
def test_a_landmark_of_few_photos_does_not_shrink_the_others(clone: Clone, photos: Path) -> None:
    for landmark in ("Torre Añil", "b"):
        for view in range(5, 12):
            (photos / landmark / f"{view}.jpg").write_bytes(renderer.photo(7, 1 if landmark != "b" else 2, view))
    (photos / "few").mkdir()
    for view in range(4):
        (photos / "few" / f"{view}.jpg").write_bytes(renderer.photo(7, 5, view))
    done = own(clone, photos)
    assert done.returncode == 0, done.stderr
    assert {name: params(clone)["sample"][name] for name in ("classes", "per_class")} == {"classes": 2, "per_class": 12}
    assert "landmarks of fewer than" in done.stdout


@pytest.mark.slow
def test_what_can_be_trained_on_five_photos_a_landmark_is_trained(clone: Clone, photos: Path) -> None:
    """The components and folds are set to what so few give."""
    assert own(clone, photos).returncode == 0
    clone.dvc("repro", "sweep", "baseline@bayes", "baseline@tree")
    assert len(catalogues.read(clone.folder / "data" / "sample.csv")) == 11
    assert "Torre Añil" in set(pd.read_parquet(clone.folder / "data" / "predictions" / "bayes.parquet")["actual"])


@pytest.mark.slow
def test_make_hands_over_a_path_as_that_very_text(clone: Clone) -> None:
    path = "no $(shell touch pwned) \"x\" 'y' `id` $HOME.csv"
    make = ["make", "--silent", "--old-file=setup", "own", f"PHOTOS={path}"]
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(make, cwd=clone.folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"{path}: no such file" in done.stderr
    assert not list(clone.folder.rglob("pwned"))


@pytest.mark.slow
def test_a_table_gets_a_place_that_git_dvc_and_the_queue_see(clone: Clone, photos: Path) -> None:
    rows = [f"{path.parent.name[0]}{path.stem},{path.as_uri()},{path.parent.name}" for path in photos.rglob("*.jpg")]
    table = photos.parent / "mine.csv"
    table.write_text("\n".join(["id,url,landmark_id", *rows]) + "\n")
    done = own(clone, table)
    assert done.returncode == 0, done.stderr
    assert params(clone)["catalogue"]["source"] == "data/own/mine.csv"
    assert "?? data/own/" in clone.git("status", "--porcelain")
    clone.dvc("add", "-q", "data/own/mine.csv")
    clone.commit("mine")
    assert "data/own/mine.csv.dvc" in clone.git("ls-files", "data/own")
    assert "data/own/mine.csv\n" not in clone.git("ls-files", "data/own")
    clone.dvc("exp", "run", "--queue", "-S", "sample.seed=1", "sample")
    clone.dvc("exp", "run", "--run-all")
    assert "Success" in clone.dvc("queue", "status")


def test_neither_photos_nor_enough_of_them_is_told_in_one_line_and_changes_nothing(tmp_path: Path) -> None:
    before = (ROOT / "params.yaml").read_text()
    here = Clone(ROOT)
    (tmp_path / "few" / "a").mkdir(parents=True)
    (tmp_path / "few" / "a" / "x.jpg").write_bytes(renderer.photo(7, 1, 0))
    for source, problem in (
        ("", "which photos? make own PHOTOS=folder"),
        (tmp_path / "few", "0 landmarks have 4 photos or more; 2 are needed"),
        (tmp_path / "nowhere.csv", "nowhere.csv: no such file"),
    ):
        done = own(here, source)
        assert done.returncode == 1
        assert problem in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    assert (ROOT / "params.yaml").read_text() == before
    assert not (ROOT / "profiles" / "own.yaml").exists()
