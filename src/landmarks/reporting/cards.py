"""Model card and dataset card, in the form that model hubs use."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from landmarks.common.errors import InputError
from landmarks.dataset import table_files
from landmarks.dataset.table_files import TableFile
from landmarks.reporting import html_page

COLUMNS = ("id", "url", "author", "license", "title")  # of Google's train_attribution.csv
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def attributions(file: Path | TableFile, ids: Iterable[str]) -> pd.DataFrame:
    """Url, author, licence and title, as text, of those photos ``ids`` that have a row, indexed by id in their order.

    The table has millions of rows: it is read as a stream. Raises ``InputError`` as ``table_files.batches`` does, or if it
    has two rows for a photo.
    """
    table = file if isinstance(file, TableFile) else TableFile(path=file, name=str(file), setting="cards.attribution")
    wanted = list(ids)
    found = table_files.batches(table, COLUMNS, rows_needed=False)
    try:
        kept = [batch.filter(pc.is_in(batch["id"], pa.array(wanted))) for batch in found]
    except InputError as error:
        if not table.path.exists():
            raise
        reason = str(error).removeprefix(f"{table.name}: ")
        raise InputError(f"{table.name}: not a CSV file with the columns {', '.join(COLUMNS)} ({reason})") from None
    types = pa.schema([(name, pa.string()) for name in COLUMNS])
    credits = pa.Table.from_batches(kept, types).to_pandas().set_index("id")
    if credits.index.has_duplicates:
        twice = credits.index[credits.index.duplicated()][0]
        raise InputError(f"{table.name}: the photo {twice!r} has two rows; remove one")
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
