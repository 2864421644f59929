"""What landmarks are called: tables as people have them, names that differ, the invented ones of the demo dataset."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Script, fails_in_one_line

from landmarks.common.errors import InputError
from landmarks.dataset import place_tables, places
from landmarks.dataset.places import Place
from landmarks.dataset.table_files import TableFile
from landmarks.demo import names as demo_names

SAMPLE = "id,url,landmark_id,reserve\na,https://x/a,9,0\nb,https://x/b,10,0\nc,https://x/c,unknown,0\n"
CATEGORIES = """landmark_id,category
9,http://commons.wikimedia.org/wiki/Category:Bas%C3%ADlica_de_la_Mercè
10,http://commons.wikimedia.org/wiki/Category:Old_Town_Hall/Bamberg
11,http://commons.wikimedia.org/wiki/Category:Elsewhere
"""


def test_a_table_of_names_becomes_that_of_the_landmarks_that_are_learnt(script: Script, tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text(SAMPLE)
    (tmp_path / "names.csv").write_text(
        'name;id;country;latitude;longitude;extra\n"Tower; old";10.0;Chile;-33.4;-70.6;x\nElsewhere;77;;;;\n'
    )
    done = script("places", tmp_path / "sample.csv", tmp_path / "out.csv", "--names", tmp_path / "names.csv")
    assert done.returncode == 0, done.stderr
    assert "does not name 1 of 2 landmarks" in done.stderr
    assert "1 of 2 landmarks have a name" in done.stdout
    tower = Place("10", "Tower; old", country="Chile", latitude=-33.4, longitude=-70.6)
    assert places.read(tmp_path / "out.csv") == {"9": Place("9", "9"), "10": tower}


def test_the_categories_of_google_landmarks_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "train_label_to_category.csv"
    path.write_text(CATEGORIES)
    found = place_tables.read(TableFile(path, str(path)), ["9", "10"])
    assert [place.name for place in found.values()] == ["Basílica de la Mercè", "Old Town Hall/Bamberg"]
    assert found["10"].url == "http://commons.wikimedia.org/wiki/Category:Old_Town_Hall/Bamberg"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("id,title\n9,x\n", "no column 'name'"),
        ("id,name\n1,x\n", "none of its landmarks is in the sample"),
        ("id,name\n9,x\n9,y\n", "row 3: the id '9' is in an earlier row"),
        ("id,name,latitude\n9,x,91\n", "row 2: the latitude '91' is no number of degrees from -90 to 90"),
        ("id,name,longitude\n9,x,east\n", "row 2: the longitude 'east' is no number of degrees"),
        ("id,name,url\n9,x,javascript:alert(1)\n", "row 2: the url 'javascript:alert(1)' is none of http or https"),
    ],
)
def test_a_table_that_cannot_be_used_is_an_error_with_its_row(
    script: Script, tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "sample.csv").write_text(SAMPLE)
    (tmp_path / "names.csv").write_text(text)
    done = script("places", tmp_path / "sample.csv", tmp_path / "out.csv", "--names", tmp_path / "names.csv")
    fails_in_one_line(done, "names.csv", reason)


@given(
    st.dictionaries(
        st.text("ab()1", min_size=1, max_size=4), st.sampled_from(["", "Tower", "Tower (a)", "unknown", "Bridge", "a"])
    )
)
def test_no_two_places_are_called_alike_and_none_unknown(
    tmp_path_factory: pytest.TempPathFactory, given_names: dict[str, str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "alike.csv"
    places.write(path, [Place(id_, name) for id_, name in given_names.items()])
    found = places.names(path)
    assert len({*found.values(), "unknown"}) == len(given_names) + 1
    assert all(name.startswith(given_names[id_] or id_) for id_, name in found.items())


def test_a_name_has_no_line_break_and_moves_no_cursor(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('id,name\n1,"a\nb\x1b[2J"\n')
    assert places.names(tmp_path / "x.csv") == {"1": "a b[2J"}


def test_the_landmarks_of_the_demo_dataset_have_names_that_say_they_are_invented() -> None:
    found = [demo_names.of(f"demo://7/photo/{number}/0.jpg", str(number)) for number in range(1, 1000)]
    assert len({place.name for place in found}) == len(found)
    assert all("(invented)" in place.name and "invented" in place.description for place in found)
    assert all(place.latitude is None and not place.url and not place.country for place in found)
    assert demo_names.of("https://example.org/7/photo/1/0.jpg", "1") == Place("1", "1")


def test_a_missing_table_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.csv: no such file; run: dvc repro places"):
        places.read(tmp_path / "x.csv")
