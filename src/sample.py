"""Choose the landmarks and the photos of the experiment."""

from pathlib import Path
from typing import Annotated

import pyarrow
import typer
from pyarrow.compute import is_in
from pyarrow.parquet import ParquetFile

import stage
from landmarks.common.errors import InputError
from landmarks.dataset import catalogues, schema


def main(
    clean: Annotated[Path, typer.Argument(help="Parquet file of the clean stage")],
    table: Annotated[Path, typer.Argument(help="CSV to write: id, url, landmark_id, reserve")],
    classes: Annotated[
        int, typer.Option(min=2, help="How many landmarks: the commonest, ties broken by the lower id")
    ] = 10,
    per_class: Annotated[int, typer.Option(min=1, help="Photos of each")] = 200,
    reserve: Annotated[int, typer.Option(min=0, help="Further photos of each, at most, to replace the expired")] = 100,
    unknown: Annotated[
        int, typer.Option(min=0, help="Photos of other landmarks, on which the network is to say that it doesn't know")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Which photos")] = 0,
) -> None:
    """Sample the same number of photos of each of the commonest landmarks, and an ordered reserve behind them."""
    try:
        with ParquetFile(clean, memory_map=True, read_dictionary=["landmark_id"]) as file:
            schema.require(clean, file.schema_arrow.names, catalogues.COLUMNS)
            column = file.read(columns=["landmark_id"])["landmark_id"].cast("string")
            landmarks = catalogues.commonest(column, classes, per_class)
            if schema.UNKNOWN in landmarks:
                raise InputError(
                    f"{clean}: a landmark is called {schema.UNKNOWN!r}, which stands for others; rename it"
                )
            others = catalogues.others(column, landmarks, unknown + reserve, seed) if unknown else []
            chosen = pyarrow.array(landmarks + others)
            blocks = map(file.read_row_group, range(file.num_row_groups))
            rows = pyarrow.concat_tables(block.filter(is_in(block["landmark_id"], chosen)) for block in blocks)
    except pyarrow.ArrowInvalid as error:
        raise InputError(f"{clean}: not a file of the clean stage ({error}); run: dvc repro clean") from None
    rows = rows.cast(catalogues.SCHEMA)
    drawn = catalogues.sample(rows, landmarks, per_class, reserve, seed)
    if unknown:
        drawn = pyarrow.concat_tables([drawn, catalogues.unknown(rows, others, unknown, reserve, seed)])
    catalogues.write(table, drawn.to_batches())


if __name__ == "__main__":
    stage.run(main)
