"""Model card and dataset card have the numbers of the evaluation, and the authors of the photos."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from support import ROOT, Script, fails_in_one_line, recipe

from landmarks.common.errors import InputError
from landmarks.evaluation import results
from landmarks.reporting import cards

HEAD = "id,url,author,license,title\n"


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    """The committed evaluation, and what the other stages leave for four photos taken by somebody."""
    urls = "".join(f"{photo},https://x/{photo}.jpg\n" for photo in "abcd")
    (tmp_path / "sample.csv").write_text("id,url\n" + urls)
    (tmp_path / "split.csv").write_text("id,landmark_id,split,group\na,1,train,0\nb,1,validation,1\nc,1,test,2\n")
    (tmp_path / "unknown.csv").write_text("id\nd\n")
    audit = {"detector": "yunet", "sizes": [320], "method": "solid"}
    counts = {"faces": 7, "photos_with_faces": 2, "quarantined": 1}
    (tmp_path / "faces.json").write_text(json.dumps(audit | counts))
    made_by = asdict(recipe(module=("somewhere/module",), size=96))
    (tmp_path / "plain.json").write_text(json.dumps({"labels": ["1", "2"], "temperature": 1.5, "recipe": made_by}))
    (tmp_path / "landmarks.csv").write_text("id,name\n1,Old | Bridge\n2,Torre Añil\n")
    names = ("sample.csv", "split.csv", "unknown.csv", "faces.json", "plain.json", "landmarks.csv")
    return [ROOT / "metrics" / "evaluation.json", *(tmp_path / name for name in names)]


def outputs(folder: Path) -> list[Path]:
    return [folder / name for name in ("attribution.csv", "model_card.md", "dataset_card.md")]


def front_matter(card: Path) -> Any:
    return yaml.safe_load(card.read_text().split("---\n")[1])


def test_the_committed_cards_have_the_numbers_of_the_committed_evaluation() -> None:
    models = results.read(ROOT / "metrics" / "evaluation.json").models
    text = (ROOT / "docs" / "model_card.md").read_text()
    for name, model in models.items():
        test = model.test
        assert f"| {name} | {model.train.top1:.3f} | {test.top1:.3f} | {test.top1_low:.3f} – " in text
    index = front_matter(ROOT / "docs" / "model_card.md")["model-index"]
    scores = {row["name"]: row["results"][0]["metrics"][0]["value"] for row in index}
    assert list(scores.items()) == [(name, model.test.top1) for name, model in models.items()]


@pytest.mark.parametrize("title", ['17" prints of $(id -un)', "`a` & 'ñ': - {x: 1} # no", "---"])
def test_a_title_is_text_on_a_card_and_in_its_front_matter(
    script: Script, inputs: list[Path], tmp_path: Path, title: str
) -> None:
    done = script("cards", *inputs, *outputs(tmp_path), "--attribution", "data/demo/world.yaml", "--title", title)
    assert done.returncode == 0, done.stderr
    _, model_card, dataset_card = outputs(tmp_path)
    assert f"# Dataset card: {title}\n" in dataset_card.read_text()
    assert f"for the one test ({title})" in model_card.read_text()
    for card in (model_card, dataset_card):
        head = yaml.safe_load(card.read_text().split("\n---\n")[0])
        named = head["model-index"][0]["results"][0]["dataset"]["name"] if card is model_card else head["pretty_name"]
        assert named.removeprefix("Landmarks: ") == title


@pytest.mark.parametrize("card", ["model_card.md", "dataset_card.md"])
def test_a_card_of_the_demo_dataset_says_so_before_any_number_and_has_the_sections_of_a_hub(card: str) -> None:
    text = (ROOT / "docs" / card).read_text().split("---\n", 2)[2]
    assert "synthetic demo dataset" in " ".join(text.split("##")[0].split())
    for section in ("## Limits", "## Privacy", "## Licence and attribution"):
        assert section in text
    assert front_matter(ROOT / "docs" / card)["license"] == "other"


def test_author_and_licence_of_the_photos_used(script: Script, inputs: list[Path], tmp_path: Path) -> None:
    rows = 'z,https://x/z.jpg,Zoe,CC0,not used\nc,https://x/c.jpg,Eva,CC BY 2.0,\na,https://x/a.jpg,"Ann, B",CC BY-SA 4.0,Mole\n'
    (tmp_path / "given.csv").write_text(HEAD + rows)
    table, model_card, dataset_card = outputs(tmp_path)
    options = ("--attribution", tmp_path / "given.csv", "--title", "mine")
    done = script("cards", *inputs, table, model_card, dataset_card, *options)
    assert done.returncode == 0, done.stderr
    written = pd.read_csv(table, keep_default_na=False)
    assert list(written.columns) == list(cards.COLUMNS)
    rows_of = written[["id", "author", "license"]].to_numpy().tolist()
    assert rows_of == [["a", "Ann, B", "CC BY-SA 4.0"], ["c", "Eva", "CC BY 2.0"]]
    assert "2 of 4 photos have no attribution, the first b" in done.stderr
    text = dataset_card.read_text()
    assert "| CC BY 2.0 | 1 |\n| CC BY-SA 4.0 | 1 |\n| *no attribution known* | 2 |" in text
    assert "**2 of 4 photos have no row in that table**, the first `b`" in text
    assert "demo dataset" not in " ".join((text + model_card.read_text()).split())
    assert "(`yunet`, 320 pixels)" in text


def test_without_a_table_no_photo_is_called_ours(script: Script, inputs: list[Path], tmp_path: Path) -> None:
    done = script("cards", *inputs, *outputs(tmp_path), "--attribution", "data/demo/world.yaml", "--title", "mine")
    assert "4 of 4 photos have no attribution" in done.stderr
    assert outputs(tmp_path)[0].read_text() == HEAD


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "no such file"), ("id,url\na,x\n", "license"), (HEAD + "a,x,A,L,\n" * 2, "two rows"), ("", "not a CSV")],
    ids=["missing", "columns", "twice", "empty"],
)
def test_a_table_that_cannot_be_used_is_an_error_that_names_it(tmp_path: Path, text: str | None, reason: str) -> None:
    if text is not None:
        (tmp_path / "given.csv").write_text(text)
    with pytest.raises(InputError, match=rf"given\.csv: .*{reason}"):
        cards.attributions(tmp_path / "given.csv", ["a"])


def test_a_dead_address_names_the_parameter(script: Script, inputs: list[Path], tmp_path: Path) -> None:
    done = script("cards", *inputs, *outputs(tmp_path), "--attribution", "http://127.0.0.1:9/train_attribution.csv")
    fails_in_one_line(done, "127.0.0.1:9", "cards.attribution")


def test_untrusted_text_has_no_mark_up_in_the_card(script: Script, inputs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "given.csv").write_text(HEAD + 'a,x,A,"<b>|[free](http://x)\n# mine",\n')
    assert script("cards", *inputs, *outputs(tmp_path), "--attribution", tmp_path / "given.csv").returncode == 0
    line = r"| \<b\>\|\[free\](http://x) \# mine | 1 |"
    assert line in outputs(tmp_path)[2].read_text().splitlines()
