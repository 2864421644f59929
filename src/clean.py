"""Drop the rows that cannot be used."""

from collections import Counter
from pathlib import Path
from typing import Annotated

from pyarrow import RecordBatch, Table
from pyarrow.parquet import ParquetWriter

import stage
from landmarks.common.errors import InputError
from landmarks.common.files import whole, write_json
from landmarks.dataset import catalogues

ROWS = 500_000  # of a row group


def main(
    catalogue: Annotated[Path, "CSV with the columns id, url, landmark_id"],
    table: Annotated[Path, "Parquet file to write"],
    counts: Annotated[Path, "JSON to write: rows, nulls by column, landmarks"],
) -> str:
    """Drop every row with a null in any column: empty, NaN, or the string None that the Kaggle file of 2018 writes."""
    found: Counter[str] = Counter()
    landmarks: set[str] = set()
    with whole(table) as partial:
        # ids and URLs don't repeat: a dictionary of them would only cost time
        with ParquetWriter(partial, catalogues.SCHEMA, use_dictionary=["landmark_id"], compression="lz4") as writer:
            held: list[RecordBatch] = []
            for batch in catalogues.batches(catalogue):
                kept, numbers = catalogues.clean(batch)
                found.update(numbers)
                landmarks.update(kept["landmark_id"].unique().to_pylist())
                held.append(kept)
                if sum(map(len, held)) >= ROWS:
                    writer.write_table(Table.from_batches(held))
                    held = []
            if held:
                writer.write_table(Table.from_batches(held))
        if not found["kept"]:
            raise InputError(f"{catalogue}: every row has a null; give a catalogue with at least one complete row")
    write_json(counts, {**found, "landmarks": len(landmarks)})
    return f"{found['kept']:,} rows of {len(landmarks):,} landmarks are complete"


if __name__ == "__main__":
    stage.run(main)
