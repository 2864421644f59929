"""Model card and dataset card, in the form that model hubs use."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from landmarks.common.errors import InputError
from landmarks.reporting import html_page

COLUMNS = ("id", "url", "author", "license", "title")  # of Google's train_attribution.csv
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def attributions(path: Path, ids: Iterable[str]) -> pd.DataFrame:
    """Url, author, licence and title, as text, of those photos ``ids`` that have a row, indexed by id in their order.

    The table has millions of rows: it is read as a stream. Raises ``InputError`` if it is missing, lacks a column, or has
    two rows for a photo.
    """
    wanted = list(ids)
    types = dict.fromkeys(COLUMNS, pa.string())
    text = pa.csv.ConvertOptions(column_types=types, include_columns=COLUMNS, strings_can_be_null=False)
    cells = pa.csv.ParseOptions(newlines_in_values=True)
    try:
        with pa.csv.open_csv(path, convert_options=text, parse_options=cells) as reader:
            kept = [batch.filter(pc.is_in(batch["id"], pa.array(wanted))) for batch in reader]
            credits = pa.Table.from_batches(kept, reader.schema).to_pandas().set_index("id")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; set cards.attribution in params.yaml") from None
    except (pa.ArrowInvalid, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a CSV file with the columns {', '.join(COLUMNS)} ({reason})") from None
    if credits.index.has_duplicates:
        twice = credits.index[credits.index.duplicated()][0]
        raise InputError(f"{path}: the photo {twice!r} has two rows; remove one")
    return credits.loc[[photo for photo in wanted if photo in credits.index]]


def size_category(photos: int) -> str:
    """The size category of a dataset, as model hubs name them."""
    return next((name for below, name in SIZES if photos < below), "n>1M")


def render(template: str, values: dict[str, Any]) -> str:
    """Markdown from one of the templates of this package; a value that it lacks is an error, not a blank."""
    environment = html_page.environment(autoescape=False)  # Markdown; untrusted text goes through `cell`
    environment.filters["cell"] = _cell
    return environment.get_template(template).render(**values)


def _cell(text: str) -> str:
    """Untrusted text for a table cell: on one line, its Markdown escaped."""
    plain = "".join(f"\\{letter}" if letter in r"\`*_[]<>|#" else letter for letter in text)
    return " ".join(plain.split()) or "(none given)"
