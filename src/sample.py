"""Choose the landmarks and the photos of the experiment."""

from pathlib import Path
from typing import Annotated

import pyarrow.parquet
import typer

import stage
from landmarks import catalogues


def main(
    clean: Annotated[Path, typer.Argument(help="Parquet file of the clean stage")],
    table: Annotated[Path, typer.Argument(help="CSV to write: id, url, landmark_id, reserve")],
    classes: Annotated[
        int, typer.Option(min=2, help="How many landmarks: the commonest, ties broken by the lower id")
    ] = 10,
    per_class: Annotated[int, typer.Option(min=1, help="Photos of each")] = 200,
    reserve: Annotated[int, typer.Option(min=0, help="Further photos of each, at most, to replace the expired")] = 100,
    seed: Annotated[int, typer.Option(help="Which photos")] = 0,
) -> None:
    """Sample the same number of photos of each of the commonest landmarks, and an ordered reserve behind them."""
    catalogues.write(table, catalogues.sample(pyarrow.parquet.read_table(clean), classes, per_class, reserve, seed))


if __name__ == "__main__":
    stage.run(main)
