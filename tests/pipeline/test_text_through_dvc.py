"""What is set in params.yaml reaches a script as that very text: DVC, a shell and a command line are between."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support import ROOT, Clone

from landmarks.dataset import catalogues

TITLE = """17" prints of $(id -un), `id`, $HOME; "año" & \'co\' | $x$"""
SHOW = """
from pathlib import Path
from typing import Annotated
import stage
def main(out: Annotated[Path, "TXT"], report: stage.TitleConfig) -> None:
    out.write_text(report.title, encoding="utf-8")
stage.run(main)
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Clone:
    """A repository in a folder with blanks and an ñ: the catalogue stage, and one that writes the title."""
    folder = tmp_path / "mi añ o"
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    for name in ("params.yaml", "versions.yaml"):
        shutil.copy(ROOT / name, folder)
    (folder / "src" / "show.py").write_text(SHOW)
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    stages["catalogue"]["deps"].remove("data/preflight.json")
    stages = {
        "catalogue": stages["catalogue"],
        "show": {"cmd": "python src/show.py title.txt ${report}", "outs": ["title.txt"]},
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    for name in ("data/demo", "data"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "data/demo/world.yaml", folder / "data/demo")
    made = Clone(folder)
    made.git("init", "-q", "-b", "main")
    made.commit("tiny")
    return made


def set_params(clone: Clone, change: Callable[[dict[str, dict[str, object]]], None]) -> None:
    params = yaml.safe_load((clone.folder / "params.yaml").read_text(encoding="utf-8"))
    change(params)
    text = yaml.safe_dump(params, sort_keys=False, allow_unicode=True)
    (clone.folder / "params.yaml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("title", ['17" prints of $(id -un)', TITLE, "", " -x ", "--title", "100 % {{ a }} \\ #"])
def test_a_title_in_params_yaml_is_that_very_text(tiny: Clone, title: str) -> None:
    set_params(tiny, lambda params: params["report"].update(title=title))
    tiny.dvc("repro", "-q", "show")
    assert (tiny.folder / "title.txt").read_text(encoding="utf-8") == title


def test_a_title_set_for_one_experiment_is_that_very_text(tiny: Clone) -> None:
    before = (tiny.folder / "params.yaml").read_text()
    tiny.dvc("exp", "run", "-q", "-S", "report.title='17\" prints of $(id -un)'", "show")
    assert (tiny.folder / "title.txt").read_text(encoding="utf-8") == '17" prints of $(id -un)'
    after = (tiny.folder / "params.yaml").read_text()
    assert sum(one != other for one, other in zip(before.splitlines(), after.splitlines(), strict=True)) == 1


def test_a_worktree_and_a_shallow_clone_run_as_the_repository_does(tiny: Clone, tmp_path: Path) -> None:
    tiny.dvc("repro", "-q", "show")
    tiny.commit("run")
    tiny.git("worktree", "add", "-q", "-b", "other", str(tmp_path / "work tree ñ"))
    tiny.git("clone", "-q", "--no-local", "--depth", "1", str(tiny.folder), str(tmp_path / "shallow"))
    for name in ("work tree ñ", "shallow"):
        copy = Clone(tmp_path / name)
        copy.dvc("exp", "run", "-q", "-S", f"report.title='{name}'", "show")
        assert (copy.folder / "title.txt").read_text(encoding="utf-8") == name


def test_a_list_set_for_one_experiment_reaches_the_script(tiny: Clone) -> None:
    stages = yaml.safe_load((tiny.folder / "dvc.yaml").read_text())
    stages["stages"]["show"]["cmd"] = "python src/show.py title.txt ${download}"
    (tiny.folder / "dvc.yaml").write_text(yaml.safe_dump(stages))
    show = SHOW.replace("report: stage.TitleConfig", "download: fetcher.FetchSettings")
    show = show.replace("report.title", '" ".join(download.schemes)')
    (tiny.folder / "src" / "show.py").write_text("from landmarks.download import fetcher\n" + show)
    tiny.commit("list")
    tiny.dvc("exp", "run", "-q", "-S", "download.schemes=[file,https]", "show")
    assert (tiny.folder / "title.txt").read_text() == "file https"


def test_the_paths_of_a_catalogue_may_hold_anything_and_its_stage_depends_on_the_file(tiny: Clone) -> None:
    source = tiny.folder / "mis fotos" / "año 'x' \"$(touch pwned)\" `id` & $HOME.csv"
    source.parent.mkdir()
    source.write_text("id;url;landmark_id\na;http://x/a;1\nb;http://x/b;1\n")
    clean = source.with_name("clean $(touch pwned) 'y'.csv")
    clean.write_text("landmark_id,images\n1,a c\n")
    name = str(source.relative_to(tiny.folder))
    set_params(tiny, lambda params: params["catalogue"].update(source=name))
    tiny.dvc("repro", "-q", "catalogue")
    assert [row["id"] for row in catalogues.read(tiny.folder / "data/catalogue.csv").to_pylist()] == ["a", "b"]
    source.write_text("id,url,landmark_id\na,http://x/a,1\nc,http://x/c,1\nd,http://x/d,1\n")
    tiny.dvc("repro", "-q", "catalogue")
    assert json.loads((tiny.folder / "data/counts/catalogue.json").read_text()) == {"rows": 3}
    set_params(tiny, lambda params: params["catalogue"].update(clean=str(clean)))
    tiny.dvc("repro", "-q", "catalogue")
    assert [row["id"] for row in catalogues.read(tiny.folder / "data/catalogue.csv").to_pylist()] == ["a", "c"]
    assert not list(tiny.folder.rglob("pwned"))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda params: params["report"].update(title=None), "report.title"),
        (lambda params: params["catalogue"].update(clean=None), "catalogue.clean"),
        (lambda params: params["models"]["tree"].update(pca=None), "models.tree.pca"),
        (lambda params: params["anonymize"].update(sizes=[320, None]), "anonymize.sizes[1]"),
    ],
)
def test_a_null_is_an_error_that_names_the_parameter(
    tiny: Clone, change: Callable[[dict[str, dict[str, object]]], None], name: str
) -> None:
    set_params(tiny, change)
    with pytest.raises(AssertionError) as failed:
        tiny.dvc("repro", "show")
    assert f"params.yaml: {name} is null; give it a value" in str(failed.value)
    assert not (tiny.folder / "title.txt").exists()


def test_a_pull_request_is_compared_and_gated_in_a_subfolder_of_a_repository(tiny: Clone, tmp_path: Path) -> None:
    whole = Clone(tmp_path / "mono repo")
    whole.folder.mkdir()
    shutil.rmtree(tiny.folder / ".git")
    part = Clone(tiny.folder.rename(whole.folder / "landmarks"))
    shutil.copytree(ROOT / ".ci", part.folder / ".ci")
    for lock in ROOT.glob("requirements*.lock"):
        shutil.copy(lock, part.folder)
    (part.folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    (part.folder / ".gitignore").write_text("/.venv\n/data/\n/title.txt\n__pycache__\n")
    part.run("rm", "-r", ".dvc")
    whole.git("init", "-q", "-b", "main")
    part.dvc("init", "--subdir", "-q")
    shutil.copy(ROOT / ".dvc" / "config", part.folder / ".dvc" / "config")
    part.dvc("repro", "-q")
    whole.commit("before")
    assert "in step" in part.run(".ci/gate")
    set_params(part, lambda params: params["report"].update(title="other"))
    with pytest.raises(AssertionError, match="out of step"):
        part.run(".ci/gate")
    part.dvc("repro", "-q")
    text = part.run(".ci/compare", "main")
    assert "| show | command, outputs |" in text
    assert "| catalogue | new |" not in text
    assert "report.title" in text
