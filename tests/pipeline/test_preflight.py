"""What would end a run later is found by its first stage, all of it, before anything is downloaded."""

import copy
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ROOT, Clone, Host, Script, small_clone

import preflight
from landmarks.common.result_cache import ResultCache

PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
DVC = Path(sys.executable).parent / "dvc"
Table = Callable[..., Path]


@pytest.fixture
def known(tmp_path: Path) -> Iterator[ResultCache]:
    with ResultCache(tmp_path / "known.sqlite") as cache:
        yield cache


@pytest.fixture
def table(tmp_path: Path, photo: bytes) -> Table:
    """Write a CSV of so many photos of each landmark; the file that every row names is there."""
    (tmp_path / "photo.jpg").write_bytes(photo)

    def write(*photos: int, url: str = (tmp_path / "photo.jpg").as_uri()) -> Path:
        rows = [f"p{landmark}_{n},{url},{landmark}" for landmark, count in enumerate(photos) for n in range(count)]
        (tmp_path / "table.csv").write_text("\n".join(["id,url,landmark_id", *rows]) + "\n")
        return tmp_path / "table.csv"

    return write


def with_values(**blocks: dict[str, Any]) -> dict[str, Any]:
    """The content of params.yaml with some values changed."""
    params = copy.deepcopy(PARAMS)
    for block, values in blocks.items():
        params[block].update(values)
    return params


def found(known: ResultCache, **blocks: dict[str, Any]) -> dict[str, preflight.Finding]:
    return {finding.parameter: finding for finding in preflight.findings(with_values(**blocks), known)}


def own(source: Path, classes: int, per_class: int) -> dict[str, dict[str, Any]]:
    """The values that a person sets for a table of files."""
    return {
        "catalogue": {"source": str(source)},
        "sample": {"classes": classes, "per_class": per_class, "unknown": 0},
        "download": {"schemes": ["http", "https", "demo", "file"]},
        "external": {"source": preflight.NONE_EXTERNAL},
    }


def test_nothing_stands_in_the_way_of_the_experiment_as_it_is_committed(script: Script, tmp_path: Path) -> None:
    done = script("preflight", tmp_path / "preflight.json")
    assert (done.returncode, done.stderr) == (0, "")


def test_everything_is_named_at_once_each_with_its_parameter_and_a_value_that_is_possible(
    known: ResultCache, table: Table
) -> None:
    wrong = found(
        known, catalogue={"source": str(table(12, 11, 7)), "names": "nobody.csv"}, cards={"attribution": "nowhere.csv"},
        models={"tree": {"features": "kase", "encoding": "flat", "pca": "m", "classifier": "tree"}}, pca={"n": 30}, sweep={"start": 10},
    )  # fmt: skip
    possible = {
        "sample.classes": 3, "sample.per_class": 7, "sample.unknown": 0, "sweep.folds": 4, "sweep.start": 9, "pca.n": 12,
        "download.schemes": ["http", "https", "demo", "file"], "external.source": preflight.NONE_EXTERNAL,
    }  # fmt: skip
    assert {name: finding.possible for name, finding in wrong.items() if finding.possible is not None} == possible
    assert set(wrong) - set(possible) == {
        "cards.attribution", "catalogue.names", "models.tree.features", "models.tree.pca",
    }  # fmt: skip
    assert "upright" in wrong["models.tree.features"].problem


@pytest.mark.parametrize("names", ["http://127.0.0.1:1/names.csv", "file:///nowhere/names.csv", "nobody.csv"])
def test_a_table_of_names_that_cannot_be_had_is_named(names: str, known: ResultCache, table: Table) -> None:
    settings = own(table(10, 10), 2, 10)
    settings["catalogue"]["names"] = names
    wrong = found(known, **settings)
    assert set(wrong) == {"catalogue.names"}
    assert names in wrong["catalogue.names"].problem


def test_with_the_values_that_it_names_nothing_stands_in_the_way(known: ResultCache, table: Table) -> None:
    for photos in ((12, 11, 10), (5, 5), (4, 9, 4), (100, 100, 1)):
        values = {"catalogue": {"source": str(table(*photos))}}
        wrong = found(known, **values)
        for name, finding in wrong.items():
            block, knob = name.split(".")
            values.setdefault(block, {})[knob] = finding.possible
        assert wrong, photos
        assert found(known, **values) == {}


@pytest.mark.parametrize("photos", [4, 5, 7, 10, 14, 30])
def test_the_components_and_folds_that_it_allows_are_those_that_the_stages_take(
    known: ResultCache, table: Table, photos: int
) -> None:
    """On as many photos of two landmarks, none of which resembles another."""
    import numpy as np

    from landmarks.classical import classifiers
    from landmarks.dataset import splitting

    landmarks, ids = ["a"] * photos + ["b"] * photos, [str(n) for n in range(2 * photos)]
    shares = {name: PARAMS["split"][name] for name in ("test", "validation")}
    parts = np.array(splitting.split(ids, landmarks, np.arange(2 * photos), **shares, seed=0))
    train = np.array(landmarks)[parts == "train"]
    wrong = found(known, **own(table(photos, photos), 2, photos), pca={"n": 1000}, sweep={"folds": 1000, "start": 1000})
    assert wrong["pca.n"].possible == len(train)
    folds = wrong["sweep.folds"].possible
    dealt = classifiers.deal(train, np.arange(len(train)), folds, 0, "sweep")
    assert wrong["sweep.start"].possible <= min(len(fit) for fit, _ in dealt)
    with pytest.raises(ValueError, match=r"sweep\.folds"):
        classifiers.deal(train, np.arange(len(train)), folds + 1, 0, "sweep")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id,url,landmark\na,u,1\n", "no column 'landmark_id'"),
        ("id,url,landmark_id\na,u,0\na,v,1\n", "row 3: the id 'a' stands in row 2 already"),
        ("id,url,landmark_id\na,u,Bridge\n", "no row is of a landmark that is trained on (0, 1 …)"),
        (None, "no such file; set external.source in params.yaml"),
    ],
)
def test_an_external_table_that_cannot_be_used_is_named(
    known: ResultCache, table: Table, tmp_path: Path, text: str | None, problem: str
) -> None:
    if text:
        (tmp_path / "other.csv").write_text(text)
    values = own(table(30, 30), 2, 30) | {"external": {"source": str(tmp_path / "other.csv")}}
    wrong = found(known, **values)
    assert list(wrong) == ["external.source"]
    assert problem in wrong["external.source"].problem


def test_too_few_photos_to_train_on_are_told_the_least_number(known: ResultCache, table: Table) -> None:
    wrong = found(known, **own(table(3, 3), 2, 3))
    assert (
        "3 photos of a landmark leave 1 for training; 4 give the 2 that are needed" in wrong["sample.per_class"].problem
    )
    assert "sample.per_class" not in found(known, **own(table(4, 4), 2, 4))


@pytest.mark.parametrize("value", ["ten", 1.5, True, -1, None])
def test_a_value_that_is_no_number_in_bounds_is_named_without_a_traceback(known: ResultCache, value: Any) -> None:
    assert list(found(known, sample={"classes": value})) == ["sample.classes"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id,url,landmark\na,u,1\n", "no column 'landmark_id'"),
        ("id,url,landmark_id\na,None,1\n", "every row has a null"),
        ("id,url,landmark_id\na,u,1\nb,u,1\n", "photos of one landmark"),
        (None, "no such file"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_beside_everything_else(
    known: ResultCache, tmp_path: Path, text: str | None, problem: str
) -> None:
    if text:
        (tmp_path / "t.csv").write_text(text)
    wrong = found(known, catalogue={"source": str(tmp_path / "t.csv")}, pca={"n": 5000})
    assert set(wrong) == {"catalogue.source", "pca.n"}
    assert problem in wrong["catalogue.source"].problem


def test_photos_that_are_not_there_and_hosts_that_do_not_answer_are_told_before_the_download(
    known: ResultCache, table: Table, host: Host
) -> None:
    for url, problem in (
        ("file:///nowhere/x.jpg", "gone"),
        ("http://127.0.0.1:9/x.jpg", "private address; only public addresses are asked"),
    ):
        values = own(table(30, 30, url=url), 2, 30)
        assert problem in found(known, **values)["catalogue.source"].problem
    values["download"]["loopback"] = True
    assert "unreachable; is the network there?" in found(known, **values)["catalogue.source"].problem
    values = own(table(30, 30, url=f"{host.url}/photo/x.jpg"), 2, 30)
    values["download"]["loopback"] = True
    assert found(known, **values) == {}
    assert not host.asked  # but its robots.txt: no photo is fetched twice


@pytest.mark.slow
def test_a_backbone_is_tried_once(known: ResultCache, tmp_path: Path) -> None:
    wrong = found(known, cnn={"module": "nowhere/backbone"})
    assert "cannot be loaded" in wrong["cnn.module"].problem
    assert "takes photos of 128 x 128 pixels" in found(known, cnn={"size": 200})["cnn.module"].problem
    (tmp_path / "mine").symlink_to(ROOT / "data" / "demo" / "backbone")
    assert found(known, cnn={"module": str(tmp_path / "mine")}) == {}
    begin = time.process_time()
    assert found(known, cnn={"module": str(tmp_path / "mine")}) == {}
    assert time.process_time() - begin < 1


@pytest.mark.slow
def test_dvc_runs_it_before_everything_and_nothing_else_for_a_number_that_is_possible(tmp_path: Path) -> None:
    clone: Clone = small_clone(tmp_path / "clone")
    command = [str(DVC), "exp", "run", "catalogue", "-S", "sample.classes=400", "-S", "pca.n=500"]
    done = subprocess.run(command, cwd=clone.folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "preflight: sample.classes: 400 asked for" in done.stderr
    assert "preflight: pca.n: 500 components asked for" in done.stderr
    assert re.findall(r"Running stage '(.+)'", done.stdout) == ["preflight"]
    clone.git("checkout", "params.yaml")
    clone.dvc("repro", "catalogue")
    text = (clone.folder / "params.yaml").read_text()
    (clone.folder / "params.yaml").write_text(text.replace("n: 6", "n: 5"))
    assert re.findall(r"Running stage '(.+)'", clone.dvc("repro", "catalogue")) == ["preflight"]


def test_a_host_of_several_that_does_not_answer_is_told_and_does_not_end_the_run(
    known: ResultCache, table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(6, 6)
    lines = path.read_text().splitlines()
    lines[1] = "gone,http://127.0.0.1:9/a.jpg,0"
    path.write_text("\n".join(lines) + "\n")
    values = own(path, 2, 6) | {"pca": {"n": 4}, "sweep": {"folds": 2}, "grid": {"folds": 2}}
    values["download"]["loopback"] = True
    assert not found(known, **values)
    assert "http://127.0.0.1:9/a.jpg: unreachable" in capsys.readouterr().err
    every = [line.replace(line.split(",")[1], f"http://127.0.0.1:9/{n}.jpg") for n, line in enumerate(lines[1:])]
    path.write_text("\n".join([lines[0], *every]) + "\n")
    assert "catalogue.source" in found(known, **values)
    values["download"]["archives"] = ["https://archive.example/{url}"]
    assert not found(known, **values)
