"""One page for a reader who knows the thesis: each of its figures answered, numbers as the stages left them, nothing fetched."""

from __future__ import annotations

import hashlib
import html.parser
import importlib.resources
import io
import json
import re
import shutil
import string
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from browser import Page, browsing, needs_chromium
from conftest import ROOT, Script, fails_in_one_line
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from landmarks.classical import features_file, local_features
from landmarks.common.errors import InputError
from landmarks.evaluation import metrics
from landmarks.reporting import html_page, report, svg_charts

HOSTILE = "\"><script>document.title='taken'</script>"
TITLE = "three <b>houses</b> & a test"
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
STAGE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["report"]
AXE = importlib.resources.files("axe_core_python") / "axe.min.js"


class Read(html.parser.HTMLParser):
    """What a page holds: its elements, the cells of the tables by the id of their figure, the text of the captions."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: dict[str, list[list[str]]] = {}
        self.captions: dict[str, str] = {}
        self.figure, self.into = "", ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        self.into = {"td": "cell", "th": "cell", "figcaption": "caption"}.get(tag, self.into)
        if tag == "figure":
            self.figure = found["id"]
            self.rows[self.figure], self.captions[self.figure] = [], ""
        elif tag == "tr":
            self.rows[self.figure].append([])
        elif self.into == "cell" and tag in ("td", "th"):
            self.rows[self.figure][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "figcaption"):
            self.into = ""

    def handle_data(self, data: str) -> None:
        if self.into == "cell":
            self.rows[self.figure][-1][-1] += data
        elif self.into == "caption":
            self.captions[self.figure] += data

    def ids(self) -> list[str]:
        return [found["id"] for _, found in self.elements if "id" in found]


def arrow(path: Path, detector: local_features.Detector, rows: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    kind = local_features.NUMBERS[detector]

    def row(id_: str, landmark: str) -> features_file.Row:
        points = rng.random((5, 4), np.float32)
        return features_file.Row(
            id_, landmark, 5, points, (rng.random((5, local_features.COLUMNS[detector])) * 9).astype(kind)
        )

    made = (row(str(id_), landmark) for id_, landmark in rows["landmark_id"].items())
    features_file.write(path, local_features.Settings(detector, 5, 400, "joint"), made)


@pytest.fixture(scope="module")
def left(photos: Path, split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the other stages leave, of three landmarks, one with a hostile name, in a folder like the repository's."""
    root = tmp_path_factory.mktemp("left")
    for folder in (
        "data/keypoints",
        "models",
        "plots/history",
        "plots/confusion",
        "plots/keypoints",
        "metrics",
        "profiles",
    ):
        (root / folder).mkdir(parents=True)
    for name in ("requirements.lock", "profiles/thesis.yaml"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "report", root / "report")
    params = {**PARAMS, "evaluate": {**PARAMS["evaluate"], "title": TITLE}}
    params["download"] = {**params["download"], "contact": "somebody@example.org"}
    (root / "params.yaml").write_text(yaml.safe_dump(params))

    shutil.copytree(photos / "images", root / "data" / "anonymous")
    rows = pd.read_csv(split, dtype=str).replace({"landmark_id": {"3": HOSTILE}})
    rows.to_csv(root / "data" / "split.csv", index=False)
    catalogue = rows[["id", "landmark_id"]].assign(url="https://example.org/" + HOSTILE)[["id", "url", "landmark_id"]]
    catalogue.to_csv(root / "data" / "catalogue.csv", index=False)
    catalogue.to_parquet(root / "data" / "clean.parquet")
    faces: dict[str, Any] = {"photos": {id_: {"faces": [{}] if id_.endswith("5") else []} for id_ in rows["id"]}}
    (root / "data" / "faces.json").write_text(json.dumps(faces))
    rows = rows.set_index("id")
    for name in report.DETECTORS:
        arrow(root / "data" / "keypoints" / f"{name}.arrow", "sift" if name == "upright" else name, rows)  # type: ignore[arg-type]  # one of them

    rng = np.random.default_rng(1)
    said = {}
    for name in params["evaluate"]["model"]:
        guess = rng.permutation(rows["landmark_id"].to_numpy())
        predicted = np.where(rng.random(len(rows)) < 0.6, rows["landmark_id"], guess)
        said[name] = pd.DataFrame(
            {"actual": rows["landmark_id"], "predicted": predicted, "confidence": 0.5}, rows.index
        )
        tested = said[name][rows["split"] == "test"]
        tested[["actual", "predicted"]].to_csv(root / "plots" / "confusion" / f"{name}.csv", index=False)
    data = json.loads((ROOT / "metrics" / "results.json").read_text())["data"]
    data["download"]["link_rot"][HOSTILE] = {HOSTILE: 1}
    data["download"]["failed"][HOSTILE] = 1
    data["split"] |= {"photos": 36, "train": 21, "validation": 6, "test": 9, "landmarks": 3}
    results = {"models": metrics.compare(said, rows["split"]), "data": data}
    (root / "metrics" / "results.json").write_text(json.dumps(results))

    for name in ("bayes_raw", "bayes", "tree", "bayes_orb", "vlad", "fisher"):
        (root / "models" / f"{name}.skops").write_bytes(bytes(len(name) * 1000))
    for name in report.NETWORKS:
        recipe = {
            "module": "a/module",
            "kind": "frozen",
            "head": [],
            "augment": False,
            "views": 8,
            "ranges": {"flip": True},
        }
        (root / "models" / f"{name}.json").write_text(json.dumps({"recipe": recipe}))
        with h5py.File(root / "models" / f"{name}.weights.h5", "w") as file:
            file["layers/dense/vars/0"], file["layers/dense/vars/1"] = np.zeros((7, 3)), np.zeros(3)
        epochs = pd.DataFrame({"epoch": [1, 2], "phase": "head", "loss": [1.5, 0.5], "accuracy": [0.25, 0.75]})
        epochs = epochs.assign(validation_loss=[1.25, 1.0], validation_accuracy=[0.5, 0.625])
        epochs.to_csv(root / "plots" / "history" / f"{name}.csv", index=False)
    sweep = pd.DataFrame({"components": [2, 4], "train": [0.5, 0.6], "validation": [0.4, 0.3]})
    sweep.assign(all_train=0.5, test=0.25).to_csv(root / "plots" / "sweep.csv", index=False)
    grid = pd.DataFrame({"features": "kaze", "encoding": ["flat", "vlad"], "kind": "svm", "validation": [0.25, 0.75]})
    grid.to_csv(root / "plots" / "grid.csv", index=False)
    for plot in (*report.PLOTS, "keypoints/orb", "keypoints/kaze"):
        Image.fromarray(rng.integers(0, 255, (60, 900, 3), np.uint8)).save(root / "plots" / f"{plot}.png")
    return root


def arguments(root: Path) -> list[Path]:
    """Those of the stage, but for the page."""
    names = ("report", "data", "plots", "models", "metrics/results.json", "params.yaml", "profiles/thesis.yaml")
    return [root / name for name in (*names, "requirements.lock")]


def gather(root: Path) -> dict[str, Any]:
    folder, data, plots, models, results, params, profile, lock = arguments(root)
    return report.gather(data, plots, models, results, params, profile, lock, folder / "thesis.yaml")


def write(root: Path, page: Path, language: str = "en") -> str:
    """The page, written in this process."""
    folder, facts = root / "report", gather(root)
    words = html_page.Words(folder / f"{language}.yaml", facts)
    html_page.write(page, folder, words, {**facts, "charts": report.draw(facts, words), "language": language})
    return page.read_text()


@pytest.fixture(scope="module")
def english(left: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "en.html"
    write(left, path)
    return path


@pytest.fixture(scope="module")
def spanish(left: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "es.html"
    write(left, path, "es")
    return path


def test_the_page_needs_no_other_file(english: Path) -> None:
    found = Read(english.read_text())
    assert not {"script", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in found.elements}
    for tag, attributes in found.elements:
        for name in ("src", "href", "srcset", "poster", "background"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import", english.read_text())


def test_every_figure_of_the_thesis_leads_to_what_answers_it_and_back(english: Path) -> None:
    found = Read(english.read_text())
    ids = found.ids()
    assert len(ids) == len(set(ids))
    links = [attributes["href"][1:] for tag, attributes in found.elements if tag == "a"]
    assert set(links) <= set(ids)
    thesis = yaml.safe_load((ROOT / "report" / "thesis.yaml").read_text())
    answered = [number for numbers in thesis["answers"].values() for number in numbers]
    assert sorted(answered) == list(range(1, 36))
    assert set(thesis["answers"]) <= set(links)
    assert {f"thesis-{number}" for number in answered} <= set(ids)
    assert [row[0] for row in found.rows["all-figures"][1:]] == [str(number) for number in range(1, 36)]
    for name, numbers in thesis["answers"].items():
        assert f"figure {numbers[0]}" in found.captions[name]


def test_every_caption_says_what_the_photos_are_of(english: Path) -> None:
    found = Read(english.read_text())
    assert len(found.captions) > 40
    assert all(TITLE in caption for caption in found.captions.values())
    assert "made world" in english.read_text()


def test_every_picture_says_what_is_to_be_seen(english: Path) -> None:
    alts = [attributes["alt"] for tag, attributes in Read(english.read_text()).elements if tag == "img"]
    assert len(alts) == 3 + len(report.PLOTS) + 2 + 6
    assert min(map(len, alts)) > 15
    assert len(set(alts)) == len(alts)


def test_the_numbers_are_those_of_the_results(english: Path, left: Path) -> None:
    rows = Read(english.read_text()).rows
    results = json.loads((left / "metrics" / "results.json").read_text())
    shown = {row[0]: row[2:] for row in rows["scores"][1:]}
    assert list(shown) == list(results["models"])
    for name, model in results["models"].items():
        test = model["test"]
        top = [f"{model[part]['top1']:.3f}" for part in ("train", "validation", "test")]
        macro = [f"{test[score]:.3f}" for score in ("macro_precision", "macro_recall", "macro_f1", "calibration_error")]
        assert shown[name] == [*top, f"{test['top1_low']:.3f} – {test['top1_high']:.3f}", *macro]
    table = pd.read_csv(left / "plots" / "confusion" / "bayes.csv", dtype=str)
    matrix = np.array([[int(cell) for cell in row[1:]] for row in rows["confusion-bayes"][1:]])
    assert matrix.sum() == len(table)
    assert matrix.trace() == (table["actual"] == table["predicted"]).sum()
    shares = np.array([[float(cell) for cell in row[1:]] for row in rows["confusion-bayes-shares"][1:]])
    assert np.allclose(shares.sum(axis=1), 1, atol=0.03)
    assert [row[-2:] for row in rows["epochs-plain"][1:]] == [["1.250", "0.500"], ["1.000", "0.625"]]
    assert rows["layers-plain"][1:] == [["dense", "7 × 3", "24"], ["total", "", "24"]]
    reproduced = {row[0]: row for row in rows["reproduction-table"]}
    ours = results["models"]["bayes"]["test"]["top1"]
    assert reproduced["naive Bayes on principal components, test"][1:3] == ["0.259", f"{ours:.3f} †"]


def test_the_best_model_is_chosen_by_validation() -> None:
    models = {name: {"validation": {"top1": top}} for name, top in {"a": 0.5, "b": 0.7, "c": 0.7, "d": 0.9}.items()}
    assert report.best(models, ["a", "b", "c"]) == "b"
    assert report.best(models, []) is None


def test_the_same_results_give_the_same_bytes(english: Path, left: Path, tmp_path: Path) -> None:
    write(left, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == english.read_bytes()


def test_the_page_names_its_inputs_by_the_sums_that_dvc_records(english: Path, left: Path) -> None:
    """But for the photos (a folder) and the parameters, which DVC takes one by one; and the template."""
    rows = {row[0].removeprefix(f"{left}/"): row[2] for row in Read(english.read_text()).rows["inputs"][1:]}
    deps = {dep for dep in STAGE["deps"] if not dep.startswith("src/")} - {
        "data/anonymous",
        "report",
        "plots/confusion",
    }
    assert set(rows) - deps == {f"plots/confusion/{name}.csv" for name in report.CONFUSED}
    assert deps <= set(rows)
    for name, md5 in rows.items():
        assert hashlib.md5((left / name).read_bytes(), usedforsecurity=False).hexdigest() == md5


def test_the_command_on_the_page_finds_the_commit_that_recorded_it(english: Path, tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    (tmp_path / "plots").mkdir()
    shutil.copy(english, tmp_path / "plots" / "report.html")
    md5 = hashlib.md5(english.read_bytes(), usedforsecurity=False).hexdigest()
    for message, content in (("before", "other"), ("recorded", f"md5: {md5}"), ("after", f"md5: {md5}\nmore")):
        (tmp_path / "dvc.lock").write_text(content)
        git("add", "dvc.lock")
        git("commit", "-qm", message)
    command = re.search(r"<code>(git log [^<]+)</code>", english.read_text())
    assert command
    plain = html.unescape(command[1])
    done = subprocess.run(["bash", "-c", plain], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].endswith("recorded")


def keyed(texts: Any, name: str = "") -> Iterator[tuple[str, str]]:
    for key, value in texts.items():
        yield from keyed(value, f"{name}.{key}") if isinstance(value, dict) else [(f"{name}.{key}", value)]


def test_both_languages_say_the_same_things_with_the_same_facts() -> None:
    english, spanish = (
        dict(keyed(yaml.safe_load((ROOT / "report" / f"{language}.yaml").read_text()))) for language in ("en", "es")
    )
    assert list(english) == list(spanish)
    for key, text in english.items():
        fields = [
            Counter((name, spec) for _, name, spec, _ in string.Formatter().parse(t) if name)
            for t in (text, spanish[key])
        ]
        assert fields[0] == fields[1], key
    assert sum(text == spanish[key] for key, text in english.items()) < 0.1 * len(english)


def test_every_word_is_used_and_the_pages_say_their_language(english: Path, spanish: Path) -> None:
    template = (ROOT / "report" / "report.html").read_text()
    code = (ROOT / "src" / "landmarks" / "reporting" / "report.py").read_text()
    texts = yaml.safe_load((ROOT / "report" / "en.yaml").read_text())
    for name in texts["word"]:
        assert f'w("{name}")' in template or f'"{name}"' in code, name
    for name in texts["text"]:
        assert f'"text.{name}"' in template or f'heading("{name}")' in template, name
    assert '<html lang="en">' in english.read_text()
    assert '<html lang="es">' in spanish.read_text()
    assert Read(english.read_text()).ids() == Read(spanish.read_text()).ids()


def test_hostile_names_are_text_and_a_contact_is_not_published(english: Path) -> None:
    page = english.read_text()
    assert HOSTILE not in page
    assert HOSTILE in [row[0] for row in Read(page).rows["parts"]]
    assert HOSTILE in Read(page).rows["link-rot-table"][0]
    assert "somebody@example.org" not in page


@settings(max_examples=20, deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_no_name_adds_an_element_to_the_page(name: str) -> None:
    words = html_page.Words(ROOT / "report" / "en.yaml", {"title": name, "parameters": {"sample": {}}})
    said = words("alt.example", id=name, landmark=name, width=1, height=2)
    assert name in said
    marked = html_page._marked(said)
    assert {tag for tag, _ in Read(f"<figure id='a'>{marked}</figure>").elements} <= {"figure", "code"}


@pytest.mark.parametrize("share", np.linspace(0, 1, 21))
def test_cells_can_be_read_on_every_shade(share: float) -> None:
    def luminance(colour: str) -> float:
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    back, ink = sorted(map(luminance, svg_charts.shade(share)))
    assert (ink + 0.05) / (back + 0.05) >= 4.5


@pytest.mark.slow
def test_a_missing_file_is_one_line_that_names_it(left: Path, tmp_path: Path) -> None:
    listed = [row[0].removeprefix(f"{left}/") for row in Read(write(left, tmp_path / "p.html")).rows["inputs"][1:]]
    for name in [name for name in listed if not name.endswith(".skops")]:
        hidden = (left / name).with_suffix(".hidden")
        (left / name).rename(hidden)
        try:
            with pytest.raises(InputError, match=re.escape(Path(name).name)):
                gather(left)
        finally:
            hidden.rename(left / name)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics/results.json", "{}", "no models"),
        ("metrics/results.json", '{"models": {"a": {}}, "data": {}}', "no data.download.failed"),
        (
            "metrics/results.json",
            '{"models": {}, "data": {"download": {"failed": {}}, "split": {"landmarks": 3}}}',
            "no models",
        ),
        (
            "metrics/results.json",
            '{"models": {"a": 1}, "data": {"download": {"failed": {}}, "split": {"landmarks": 3}}}',
            "no validation.top1",
        ),
        ("metrics/results.json", "[1", "results.json"),
        ("plots/history/plain.csv", "epoch,phase,loss\n1,head,2\n", "accuracy"),
        (
            "plots/history/plain.csv",
            "epoch,phase,loss,accuracy,validation_loss,validation_accuracy\n1,a,2,x,2,2\n",
            "row 2",
        ),
        ("plots/sweep.csv", "components,train,validation,all_train,test\n", "no rows"),
        ("plots/faces.png", "nothing", "not a PNG"),
        ("models/plain.weights.h5", "nothing", "not a weights file"),
        ("models/plain.json", "[]", "no recipe.module"),
        ("data/clean.parquet", "nothing", "clean"),
        ("data/faces.json", "{}", "no photos"),
        ("params.yaml", "a: [", "not a YAML file"),
        ("params.yaml", "a: 1", "no evaluate.title"),
    ],
)
def test_a_malformed_file_is_one_line_that_names_it(left: Path, name: str, content: str, said: str) -> None:
    kept = (left / name).read_bytes()
    (left / name).write_text(content)
    try:
        with pytest.raises(InputError, match=re.escape(said)) as raised:
            gather(left)
        assert Path(name).name in str(raised.value)
        assert "\n" not in str(raised.value)
    finally:
        (left / name).write_bytes(kept)


def test_a_result_that_the_page_misses_is_one_line(left: Path, tmp_path: Path) -> None:
    kept = (left / "metrics" / "results.json").read_text()
    results = json.loads(kept)
    del results["data"]["reject"]["auroc"]
    (left / "metrics" / "results.json").write_text(json.dumps(results))
    try:
        with pytest.raises(InputError, match="auroc"):
            write(left, tmp_path / "p.html")
        assert not list(tmp_path.iterdir())
    finally:
        (left / "metrics" / "results.json").write_text(kept)


def test_a_model_that_is_not_evaluated_leaves_its_place_empty(left: Path, tmp_path: Path) -> None:
    kept = (left / "metrics" / "results.json").read_text()
    results = json.loads(kept)
    results["models"] = {"tree": results["models"]["tree"] | {"mcnemar": {}}}
    (left / "metrics" / "results.json").write_text(json.dumps(results))
    try:
        found = Read(write(left, tmp_path / "p.html"))
    finally:
        (left / "metrics" / "results.json").write_text(kept)
    assert [row[2] for row in found.rows["all-figures"][25:28]] == ["–"] * 3
    assert {attributes["href"][1:] for tag, attributes in found.elements if tag == "a"} <= set(found.ids())


@pytest.mark.slow
def test_the_script_writes_the_page_and_fails_in_one_line(
    script: Script, left: Path, spanish: Path, tmp_path: Path
) -> None:
    done = script("report", *arguments(left), tmp_path / "p.html", "--language", "es")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p.html").read_bytes() == spanish.read_bytes()
    done = script("report", *arguments(left), tmp_path / "q.html", "--language", "fr")
    assert done.returncode == 2
    assert "'en', 'es'" in done.stderr
    fails_in_one_line(script("report", *arguments(left / "none"), tmp_path / "q.html"), "results.json", "dvc repro")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize(("language", "width"), [("en", 1200), ("es", 360)])
def test_a_browser_shows_it_on_a_phone_and_a_desk(
    page: Page, english: Path, spanish: Path, language: str, width: int
) -> None:
    path = english if language == "en" else spanish
    page.open(path, width, 800)
    assert page.complaints() == []
    assert {address for address in page.asked() if not address.startswith("data:")} == {path.as_uri()}
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run("document.title").startswith(("Which", "¿Qué"))
    broken = "Promise.all([...document.images].map(i => i.decode())).then(() => [...document.images].filter(i => !i.naturalWidth).length)"
    assert page.run(broken) == 0
    picture = np.asarray(Image.open(io.BytesIO(page.picture())).convert("L"), float)
    assert picture.shape == (800, width)
    assert picture.std() > 20
    page.run(f"{AXE.read_text()}; 0")
    found = page.run("axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html.slice(0, 200)))")
    assert found == []


@needs_chromium
@pytest.mark.slow
def test_it_prints_whole(page: Page, english: Path) -> None:
    """On paper nothing can be scrolled: no box is cut, and the pages are not blank."""
    page.open(english, 718, 1000)  # the width of an A4 page within its margins
    page.ask("Emulation.setEmulatedMedia", media="print")
    cut = page.run(
        "[...document.querySelectorAll('.scroll')].filter(e => e.scrollHeight > e.clientHeight + 1 && getComputedStyle(e).overflowY !== 'visible').length"
    )
    page.ask("Emulation.setEmulatedMedia", media="")
    assert cut == 0
    printed = page.ask("Page.printToPDF", printBackground=True)["data"]
    assert len(printed) > 100_000
