"""Drop the rows that cannot be used."""

from pathlib import Path
from typing import Annotated

import pyarrow.parquet
import typer

import stage
from landmarks import catalogues
from landmarks.errors import InputError
from landmarks.files import whole, write_json


def main(
    catalogue: Annotated[Path, typer.Argument(help="CSV with the columns id, url, landmark_id")],
    table: Annotated[Path, typer.Argument(help="Parquet file to write")],
    counts: Annotated[Path, typer.Argument(help="JSON to write: rows, nulls by column, landmarks")],
) -> None:
    """Drop every row with a null in any column: empty, NaN, or the string None that the Kaggle file of 2018 writes."""
    kept, found = catalogues.clean(catalogues.read(catalogue))
    if not kept.num_rows:
        raise InputError(f"{catalogue}: every row has a null; give a catalogue with at least one complete row")
    with whole(table) as partial:
        # ids and URLs don't repeat: a dictionary of them would only cost time
        pyarrow.parquet.write_table(kept, partial, use_dictionary=["landmark_id"], compression="lz4")
    write_json(counts, found)


if __name__ == "__main__":
    stage.run(main)
