"""Choose the landmarks and the photos of the experiment."""

from pathlib import Path
from typing import Annotated

import pyarrow
import pyarrow.parquet
import typer

import stage
from landmarks import catalogues, contracts
from landmarks.errors import InputError


def main(
    clean: Annotated[Path, typer.Argument(help="Parquet file of the clean stage")],
    table: Annotated[Path, typer.Argument(help="CSV to write: id, url, landmark_id, reserve")],
    classes: Annotated[
        int, typer.Option(min=2, help="How many landmarks: the commonest, ties broken by the lower id")
    ] = 10,
    per_class: Annotated[int, typer.Option(min=1, help="Photos of each")] = 200,
    reserve: Annotated[int, typer.Option(min=0, help="Further photos of each, at most, to replace the expired")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Which photos")] = 0,
) -> None:
    """Sample the same number of photos of each of the commonest landmarks, and an ordered reserve behind them."""
    try:
        rows = pyarrow.parquet.read_table(clean, columns=list(catalogues.COLUMNS))
    except (pyarrow.ArrowInvalid, KeyError) as error:
        raise InputError(f"{clean}: not a file of the clean stage ({error}); run: dvc repro clean") from None
    contracts.require(clean, rows.column_names, catalogues.COLUMNS)
    catalogues.write(table, catalogues.sample(rows, classes, per_class, reserve, seed))


if __name__ == "__main__":
    stage.run(main)
