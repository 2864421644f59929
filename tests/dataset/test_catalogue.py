"""The catalogue stage takes any table of (id, url, landmark_id), and says what is wrong with one it can't take."""

import json
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import ROOT, Host, Script, fails_in_one_line

from landmarks.common.errors import InputError
from landmarks.dataset import catalogues, tables

GOOD = "id,url,landmark_id\na1,http://x/1.jpg,5\nb2,http://x/2.jpg,None\n"


@pytest.fixture
def out(tmp_path: Path) -> list[Path]:
    return [tmp_path / "catalogue.csv", tmp_path / "counts.json"]


def test_a_csv_is_taken_as_it_is_without_further_columns(script: Script, tmp_path: Path, out: list[Path]) -> None:
    (tmp_path / "in.csv").write_text("author,id,url,landmark_id\nme,a1,http://x/1.jpg,5\n,b2,None,None\n")
    assert script("catalogue", *out, "--source", tmp_path / "in.csv").returncode == 0
    assert out[0].read_text() == "id,url,landmark_id\na1,http://x/1.jpg,5\nb2,None,None\n"
    assert json.loads(out[1].read_text()) == {"rows": 2}


def test_the_made_world_is_a_catalogue_with_nulls_copies_and_a_long_tail(script: Script, out: list[Path]) -> None:
    assert script("catalogue", *out, "--source", "data/demo/world.yaml").returncode == 0
    rows = catalogues.read(out[0]).to_pandas()
    counts = rows["landmark_id"].value_counts().drop("None")
    assert (rows["landmark_id"] == "None").sum() > 20
    assert (rows["url"] == "None").sum() > 10
    assert counts.head(12).min() > 70
    assert (counts < 12).sum() > 100
    assert rows["url"].str.contains("-1.jpg").any()


def test_a_catalogue_may_be_given_by_url(script: Script, host: Host, out: list[Path]) -> None:
    assert script("catalogue", *out, "--source", f"{host.url}/file/train.csv").returncode == 0
    assert catalogues.read(out[0]).to_pylist() == [{"id": "a", "url": "http://x/a.jpg", "landmark_id": "1"}]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("id,url,landmark\na,u,1\n", ["in.csv", "no column 'landmark_id'", "is it the column 'landmark'?"]),
        ("id,landmark_id\na,1\n", ["in.csv", "no column 'url'"]),
        ("", ["in.csv", "empty"]),
        ("\xff\xfe\x00", ["in.csv", "no column 'id'"]),
        ("id:url:landmark_id\na:u:1\n", ["in.csv", "no column 'id'", "'id:url:landmark_id'"]),
        ("id,url,landmark_id\n", ["in.csv", "no rows"]),
        ("id,url,landmark_id\na,u,1\nb,u,1\na,u,2\n", ["in.csv", "row 4", "'a'", "row 2"]),
        ("id,url,landmark_id\na,u,1\n../x,u,1\n", ["in.csv", "row 3", "'../x'", "cannot name a file"]),
        ("id,url,landmark_id\na,u,1\nb,u\n", ["in.csv", "Row #3", "Expected 3 columns, got 2"]),
    ],
)
def test_a_wrong_table_ends_in_one_line_and_writes_nothing(
    script: Script, tmp_path: Path, out: list[Path], text: str, parts: list[str]
) -> None:
    (tmp_path / "in.csv").write_bytes(text.encode("latin-1"))
    fails_in_one_line(script("catalogue", *out, "--source", tmp_path / "in.csv"), *parts)
    assert not any(path.exists() for path in out)


@pytest.mark.parametrize("source", ["nowhere.csv", "nowhere.yaml", "http://127.0.0.1:9/train.csv"])
def test_a_source_that_is_missing_ends_in_one_line_that_names_it(script: Script, out: list[Path], source: str) -> None:
    fails_in_one_line(script("catalogue", *out, "--source", source), source, "catalogue.source")


def test_cells_may_hold_commas_and_line_breaks_and_the_file_a_byte_order_mark(
    script: Script, tmp_path: Path, out: list[Path]
) -> None:
    rows = [f'"caption, of\r\na{n},http://x/{n},1",i{n},http://x/{n}.jpg,{n % 7}' for n in range(40_000)]
    text = "\r\n".join(["\ufeffcaption,id,url,landmark_id", *rows])
    (tmp_path / "in.csv").write_text(text, encoding="utf-8", newline="")
    assert script("catalogue", *out, "--source", tmp_path / "in.csv").returncode == 0
    assert catalogues.read(out[0])["id"].to_pylist() == [f"i{n}" for n in range(40_000)]


@pytest.mark.parametrize(
    ("line", "part"),
    [("  seed: seven", "world.seed is 'seven'"), ("  sed: 7", "needs seed"), ("  rare: 5000", "at most 900")],
)
def test_a_wrong_world_is_an_error_that_names_the_key(
    script: Script, tmp_path: Path, out: list[Path], line: str, part: str
) -> None:
    world = (ROOT / "data" / "demo" / "world.yaml").read_text()
    key = "rare" if "rare" in line else "seed"
    (tmp_path / "w.yaml").write_text(re.sub(rf"^  {key}:.*$", line, world, count=1, flags=re.MULTILINE))
    fails_in_one_line(script("catalogue", *out, "--source", tmp_path / "w.yaml"), "w.yaml", part)


@example("-1.#QNAN")
@given(st.text(max_size=12))
def test_an_id_that_passes_is_one_plain_file_name(name: str) -> None:
    made = pa.table({"id": [name], "url": ["u"], "landmark_id": ["1"]}).to_batches()
    try:
        list(catalogues.checked("x", made, lambda: made))
    except InputError:
        return
    if name.strip() in catalogues.NULLS:  # the clean stage drops its row
        return
    assert (Path("folder") / name).parent == Path("folder")
    assert not name.startswith((".", "-"))


def test_the_same_ids_pass_in_every_stage() -> None:
    tables.check_ids(Path("x"), pd.DataFrame({"id": ["a.b-c_1"]}))
    for name in ("..", "a/b", "a\n", "", "é", "-x"):
        with pytest.raises(InputError):
            tables.check_ids(Path("x"), pd.DataFrame({"id": [name]}))
