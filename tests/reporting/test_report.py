"""One page for a reader who knows the thesis: each of its figures answered, numbers as the stages left them, nothing fetched."""

import hashlib
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from report_inputs import DETECTORS, HOSTILE, NETWORKS, PLOTS, TITLE, Read, arguments, make, write, write_network
from support import ROOT, Script

from landmarks.common.errors import InputError
from landmarks.evaluation.results import ModelScores, ProbabilityScores, Score
from landmarks.reporting import html_page, report, svg_charts

EPOCHS = "step,phase,loss,accuracy,validation_loss,validation_accuracy"
STAGE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["report"]


@pytest.fixture(scope="module")
def left(photos: Path, split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("left"), photos, split)


@pytest.fixture(scope="module")
def page(left: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write(left, path)
    return path


def evaluation(root: Path) -> Any:
    return json.loads((root / "metrics" / "evaluation.json").read_text())


def write_with(root: Path, name: str, content: str, page: Path) -> str:
    """The page with another content of one of its inputs."""
    kept = (root / name).read_bytes()
    (root / name).write_text(content)
    try:
        return write(root, page)
    finally:
        (root / name).write_bytes(kept)


def test_the_page_needs_no_other_file(page: Path) -> None:
    found = Read(page.read_text())
    assert not {"script", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in found.elements}
    for tag, attributes in found.elements:
        for name in ("src", "href", "srcset", "poster", "background"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import", page.read_text())


def test_every_figure_of_the_thesis_leads_to_what_answers_it_and_back(page: Path) -> None:
    found = Read(page.read_text())
    ids = found.ids()
    assert len(ids) == len(set(ids))
    assert found.links() <= set(ids)
    figures = yaml.safe_load((html_page.TEMPLATES / "thesis.yaml").read_text())["figures"]
    assert list(figures) == list(range(1, 36))
    assert {figure["answer"] for figure in figures.values()} <= found.links()
    assert {f"thesis-{number}" for number in figures} <= set(ids)
    assert [row[0] for row in found.rows["all-figures"][1:]] == [str(number) for number in figures]
    for figure in figures.values():
        first = min(number for number, other in figures.items() if other["answer"] == figure["answer"])
        assert f"figure {first}" in found.captions[figure["answer"]]


def test_every_caption_says_what_the_photos_are_of(page: Path) -> None:
    found = Read(page.read_text())
    assert len(found.captions) > 40
    assert all(TITLE in caption for caption in found.captions.values())
    assert "synthetic demo dataset" in page.read_text()


def mistaken(left: Path) -> dict[str, list[str]]:
    """By photo, the models that got it wrong."""
    found: dict[str, list[str]] = {}
    for name in evaluation(left)["models"]:
        table = pd.read_csv(left / "plots" / "confusion" / f"{name}.csv", dtype=str)
        for photo in table["id"][table["actual"] != table["predicted"]]:
            found.setdefault(photo, []).append(name)
    return found


def test_mistakes_are_seen_photo_by_photo_those_first_that_most_models_got_wrong(page: Path, left: Path) -> None:
    wrong = mistaken(left)
    listed = page.read_text().partition('<figure id="mistaken">')[2].partition("</figure>")[0]
    entries = re.findall(r'<span class="mono">(.*?)</span>(.*?)</li>', listed)
    assert {photo: re.findall(r"<br>(\w+): ", said) for photo, said in entries} == wrong
    counts = [len(wrong[photo]) for photo, _ in entries]
    assert counts == sorted(counts, reverse=True)


def test_every_picture_says_what_is_to_be_seen(page: Path, left: Path) -> None:
    alts = [attributes["alt"] for tag, attributes in Read(page.read_text()).elements if tag == "img"]
    photos = 3 + len(mistaken(left))  # examples and mistakes
    assert len(alts) == photos + len(PLOTS) + len(DETECTORS) + 2 + 2 * len(NETWORKS)  # PNGs, charts
    assert min(map(len, alts)) > 15
    assert len(set(alts)) == len(alts)


def test_the_numbers_are_those_of_the_evaluation(page: Path, left: Path) -> None:
    rows = Read(page.read_text()).rows
    models = evaluation(left)["models"]
    shown = {row[0]: row[2:] for row in rows["scores"][1:]}
    assert list(shown) == list(models)
    for name, model in models.items():
        test = model["test"]
        top = [f"{model[part]['top1']:.3f}" for part in ("train", "validation", "test")]
        macro = [f"{test[score]:.3f}" for score in ("macro_precision", "macro_recall", "macro_f1", "calibration_error")]
        told = [f"{model['probabilities']['test'][score]:.3f}" for score in ("top3", "log_loss", "brier")]
        assert shown[name] == [*top, f"{test['top1_low']:.3f} – {test['top1_high']:.3f}", *macro, *told]
    table = pd.read_csv(left / "plots" / "confusion" / "bayes.csv", dtype=str)
    matrix = np.array([[int(cell) for cell in row[1:]] for row in rows["confusion-bayes"][1:]])
    assert matrix.sum() == len(table)
    assert matrix.trace() == (table["actual"] == table["predicted"]).sum()
    shares = np.array([[float(cell) for cell in row[1:]] for row in rows["confusion-bayes-shares"][1:]])
    assert np.allclose(shares.sum(axis=1), 1, atol=0.03)
    assert [row[-2:] for row in rows["epochs-plain"][1:]] == [["1.250", "0.500"], ["1.000", "0.625"]]
    dense = ["Dense", "(None, 3)", "24", "24"]
    sums = [["total", "", "73", "64"], ["not trained", "", "9", ""]]
    assert rows["layers-plain"][1:] == [["BackboneLayer", "(None, 7)", "49", "40"], dense, *sums]
    named = {row[0]: row[1] for row in rows["training"][1:]}
    assert named["loss"] == "CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)"
    assert named["optimiser"] == "SGD(learning_rate=0.02, momentum=0.9), along a cosine to 0"
    reproduced = {row[0]: row for row in rows["reproduction-table"]}
    ours = models["bayes"]["test"]["top1"]
    assert reproduced["naive Bayes on principal components, test"][1:3] == ["0.259", f"{ours:.3f} †"]


def test_photos_of_another_source_stand_beside_the_test_where_there_are_some(left: Path, page: Path) -> None:
    found = evaluation(left)
    shown = Read(page.read_text()).rows
    assert [len(row) for row in shown["external"]] == [6] * (len(found["models"]) + 1)
    found["data"]["split"] |= {"external": 40, "external_left_out": 3}
    found["data"]["reject"]["external"] = {**found["data"]["reject"], "auroc": 0.123}
    for model in found["models"].values():
        model["external"] = {**model["test"], "top1": model["test"]["top1"] - 0.05}
        model["by_group"]["external"], model["sets"]["external"] = model["by_group"]["test"], model["sets"]["test"]
    changed = write_with(left, "metrics/evaluation.json", json.dumps(found), page.with_name("elsewhere.html"))
    assert "40 photos of the same landmarks come from another source" in changed
    rows = Read(changed).rows
    for name, *cells in rows["external"][1:]:
        test = found["models"][name]["test"]
        assert cells[0] == f"{test['top1']:.3f}"
        assert (cells[3], cells[6]) == (f"{test['top1'] - 0.05:.3f}", "-0.050")
    assert rows["rejection-table"][-1][3] == "0.123"


def test_the_best_model_is_chosen_by_validation() -> None:
    tops = {"a": 0.5, "b": 0.7, "c": 0.7, "d": 0.9}
    scores = {name: Score(top, 0, 1, top, top, top, 0) for name, top in tops.items()}
    losses = {"a": 0.1, "b": 0.8, "c": 0.7, "d": 0.9}
    models = {
        name: ModelScores(score, score, score, {}, {}, {"validation": ProbabilityScores(1, losses[name], 0)})
        for name, score in scores.items()
    }
    assert report.best(models, ["a", "b", "c"]) == "c"  # as good as b, and of a lower log-loss
    assert report.best(models, []) is None


def test_the_page_names_its_inputs_by_the_sums_that_dvc_records(page: Path, left: Path) -> None:
    """Each is a dependency of the stage, or lies in a folder that is one."""
    rows = {row[0].removeprefix(f"{left}/"): row[2] for row in Read(page.read_text()).rows["inputs"][1:]}
    deps = {dep for dep in STAGE["deps"] if not dep.startswith("src/")}
    folders = {"data/anonymous", "data/keypoints", "models", "plots/confusion", "plots/history", "plots/keypoints"}
    assert {name for name in rows if not any(name.startswith(f"{folder}/") for folder in folders)} == deps - folders
    assert {str(Path(name).parent) for name in rows} >= folders - {"data/anonymous"}
    for name, md5 in rows.items():
        assert hashlib.md5((left / name).read_bytes(), usedforsecurity=False).hexdigest() == md5


def test_the_command_on_the_page_finds_the_commit_that_recorded_it(page: Path, tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    (tmp_path / "plots").mkdir()
    shutil.copy(page, tmp_path / "plots" / "report.html")
    md5 = hashlib.md5(page.read_bytes(), usedforsecurity=False).hexdigest()
    for message, content in (("before", "other"), ("recorded", f"md5: {md5}"), ("after", f"md5: {md5}\nmore")):
        (tmp_path / "dvc.lock").write_text(content)
        git("add", "dvc.lock")
        git("commit", "-qm", message)
    command = re.search(r"<code>(git log [^<]+)</code>", page.read_text())
    assert command
    plain = html.unescape(command[1])
    done = subprocess.run(["bash", "-c", plain], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].endswith("recorded")


def test_hostile_names_are_text_and_a_contact_is_not_published(page: Path) -> None:
    text = page.read_text()
    assert HOSTILE not in text
    assert HOSTILE in [row[0] for row in Read(text).rows["parts"]]
    assert HOSTILE in Read(text).rows["link-rot-table"][0]
    assert "somebody@example.org" not in text


@pytest.mark.parametrize("share", np.linspace(0, 1, 21))
def test_cells_can_be_read_on_every_shade(share: float) -> None:
    def luminance(colour: str) -> float:
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    back, ink = sorted(map(luminance, svg_charts.shade(share)))
    assert (ink + 0.05) / (back + 0.05) >= 4.5


@pytest.mark.slow
def test_a_missing_file_is_one_line_that_names_it(left: Path, page: Path, tmp_path: Path) -> None:
    listed = [Path(row[0].removeprefix(f"{left}/")) for row in Read(page.read_text()).rows["inputs"][1:]]
    one_of_each_kind = {(name.parent, name.suffix): name for name in listed if name.suffix != ".skops"}
    for name in one_of_each_kind.values():
        hidden = (left / name).rename((left / name).with_suffix(".hidden"))
        with pytest.raises(InputError, match=re.escape(name.name)):
            write(left, tmp_path / "q.html")
        hidden.rename(left / name)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics/evaluation.json", "{}", "no models"),
        ("metrics/evaluation.json", '{"models": {"a": {}}, "data": {}}', "no train"),
        ("metrics/evaluation.json", '{"models": {}, "data": {}}', "no models"),
        ("metrics/evaluation.json", '{"models": {"a": 1}, "data": {}}', "not as the evaluate stage writes it"),
        ("metrics/evaluation.json", "[1", "evaluation.json"),
        ("plots/history/plain.csv", "step,phase,loss\n1,head,2\n", "accuracy"),
        ("plots/history/plain.csv", f"{EPOCHS}\n1,a,2,x,2,2\n", "row 2"),
        ("plots/sweep.csv", "components,train,validation,all_train,test\n", "no rows"),
        ("plots/faces.png", "nothing", "not a PNG"),
        ("models/plain.json", '{"recipe": {"training": {"module": ["a"]}}}', "no layers"),
        ("models/plain.json", "[]", "no recipe.training.module"),
        ("data/clean.parquet", "nothing", "clean"),
        ("data/faces.json", "{}", "no photos"),
        ("params.yaml", "a: [", "not a YAML file"),
        ("params.yaml", "a: 1", "no catalogue.source"),
    ],
)
def test_a_malformed_file_is_named(left: Path, tmp_path: Path, name: str, content: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as raised:
        write_with(left, name, content, tmp_path / "p.html")
    assert Path(name).name in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("stage", "count"), [("reject", "auroc"), ("download", "failed")])
def test_a_result_that_the_page_misses_is_one_line(left: Path, tmp_path: Path, stage: str, count: str) -> None:
    changed = evaluation(left)
    del changed["data"][stage][count]
    with pytest.raises(InputError, match=count):
        write_with(left, "metrics/evaluation.json", json.dumps(changed), tmp_path / "p.html")
    assert not list(tmp_path.iterdir())


def test_sections_go_by_the_models_that_are_there_and_what_is_missing_is_a_dash(left: Path, tmp_path: Path) -> None:
    changed = evaluation(left)
    changed["models"] = {"tree": changed["models"]["tree"] | {"mcnemar": {}}}
    changed["data"]["keypoints"] = {"sift": changed["data"]["keypoints"]["sift"]}
    found = Read(write_with(left, "metrics/evaluation.json", json.dumps(changed), tmp_path / "p.html"))
    assert found.links() <= set(found.ids())
    index = {int(row[0]): row[2] for row in found.rows["all-figures"][1:]}
    missing = {7, 8, 9, 10, 11, 13, 14, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34}  # of bayes, plain, KAZE and ORB
    assert {number for number, where in index.items() if where == "–"} == missing
    compared = {row[0]: row[1:] for row in found.rows["reproduction-table"]}
    top = changed["models"]["tree"]["test"]["top1"]
    assert compared["naive Bayes on all columns, test"] == ["0.190", "–", f"{top:.3f}tree", "figure 22"]
    assert compared["decision tree, test"][:2] == ["0.104", f"{top:.3f} †"]
    assert "confusion-tree" in found.rows  # the best there is


def test_a_model_that_nobody_described_has_a_place_in_every_section(left: Path, tmp_path: Path) -> None:
    changed = evaluation(left)
    best, other = changed["models"]["fused"], changed["models"]["plain"]
    best["validation"]["top1"] = 1.0
    changed["models"] = {"my-net": {**best, "mcnemar": {"mine": 0.5}}, "mine": {**other, "mcnemar": {"my-net": 0.5}}}
    write_network(left, "my-net")
    (left / "models" / "mine.skops").write_bytes(b"model")
    for name in ("my-net", "mine"):
        shutil.copy(left / "plots" / "confusion" / "fused.csv", left / "plots" / "confusion" / f"{name}.csv")
    found = Read(write_with(left, "metrics/evaluation.json", json.dumps(changed), tmp_path / "p.html"))
    described = [row[:2] for row in found.rows["scores"][1:]]
    assert described == [["my-net", "network my-net"], ["mine", "keypoint model mine"]]
    assert {"layers-my-net", "epochs-my-net", "confusion-my-net-shares", "classes-my-net"} <= set(found.rows)
    assert found.captions["loss-my-net"].startswith("Loss by epoch, my-net")


def test_the_script_writes_the_same_page(script: Script, left: Path, page: Path, tmp_path: Path) -> None:
    done = script("report", *arguments(left), tmp_path / "p.html", "--title", TITLE)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p.html").read_bytes() == page.read_bytes()


def test_of_a_thousand_landmarks_the_worst_the_best_and_the_distribution_are_shown(left: Path, tmp_path: Path) -> None:
    changed = evaluation(left)
    recalls = {str(7000 + number): (number + 0.5) / 1000 for number in range(1000)}
    scores = {name: {"precision": 0.5, "recall": recall, "f1": 0.5} for name, recall in recalls.items()}
    changed["models"]["bayes"]["per_class"] = scores
    pairs = [(name, name if place % 20 < 20 * recalls[name] else "7999") for name in recalls for place in range(20)]
    photo = next((left / "data" / "anonymous").glob("*.jpg")).stem
    csv, was = left / "plots" / "confusion" / "bayes.csv", (left / "plots" / "confusion" / "bayes.csv").read_bytes()
    pd.DataFrame(pairs, columns=["actual", "predicted"]).assign(id=photo, confidence=0.5).to_csv(csv, index=False)
    found = Read(write_with(left, "metrics/evaluation.json", json.dumps(changed), tmp_path / "p.html"))
    csv.write_bytes(was)
    assert [row[0] for row in found.rows["classes-bayes"][1:]] == [
        str(n) for n in (*range(7000, 7020), *range(7980, 8000))
    ]
    assert [row[1] for row in found.rows["recalls-bayes"][1:]] == ["100"] * 10
    matrix = found.rows["confusion-bayes"]
    assert matrix[0][1:] == [*map(str, range(7000, 7020)), "all others"]
    assert [row[0] for row in matrix[1:]] == [str(n) for n in range(7000, 7020)]
    assert all(sum(map(int, row[1:])) == 20 for row in matrix[1:])
    assert "recalls-plain" not in found.rows
