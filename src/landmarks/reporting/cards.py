"""Cards: what a model or a data set is, for whom and for what not, in the shape that the field's hubs use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from landmarks.common.errors import InputError

COLUMNS = ("id", "url", "author", "license", "title")  # of Google's train_attribution.csv
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
TEMPLATES = Path(__file__).parent / "templates"


def attributions(path: Path, ids: Iterable[str]) -> pd.DataFrame:
    """Author, licence and title, as text, of the photos ``ids``, indexed by id in their order; those without a row are left out.

    The table of Google Landmarks has millions of rows: it is read as a stream. Raises ``InputError`` if it is missing, lacks a
    column, or has two rows of a photo.
    """
    wanted = list(ids)
    text = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(COLUMNS, pa.string()), include_columns=COLUMNS, strings_can_be_null=False
    )
    cells = pa.csv.ParseOptions(newlines_in_values=True)
    try:
        with pa.csv.open_csv(path, convert_options=text, parse_options=cells) as reader:
            kept = [batch.filter(pc.is_in(batch["id"], pa.array(wanted))) for batch in reader]
            found = pa.Table.from_batches(kept, reader.schema).to_pandas().set_index("id")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; set cards.attribution in params.yaml") from None
    except (pa.ArrowInvalid, KeyError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path}: not a CSV file with the columns {', '.join(COLUMNS)} ({said})") from None
    if found.index.has_duplicates:
        twice = found.index[found.index.duplicated()][0]
        raise InputError(f"{path}: the photo {twice!r} has two rows; remove one")
    return found.loc[[photo for photo in wanted if photo in found.index]]


def size_category(photos: int) -> str:
    """The size of a data set as the hubs sort them."""
    return next((name for below, name in SIZES if photos < below), "n>1M")


def render(template: str, values: dict[str, Any]) -> str:
    """A Markdown file from one of the templates beside this module; a value that it lacks is an error, not a blank."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,  # noqa: S701 - Markdown; strangers' text goes through `cell`
    )  # fmt: skip
    environment.filters["cell"] = _cell
    return environment.get_template(template).render(**values)


def _cell(text: str) -> str:
    """Strangers' text in a table: on one line, without a mark-up of its own."""
    plain = "".join(f"\\{letter}" if letter in r"\`*_[]<>|#" else letter for letter in text)
    return " ".join(plain.split()) or "(none given)"
