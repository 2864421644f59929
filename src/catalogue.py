"""Bring in the catalogue: a CSV of (id, url, landmark_id) by path or URL, or the made world's own."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import pyarrow as pa

import stage
from landmarks.common.files import write_json
from landmarks.dataset import catalogues


def main(
    source: Annotated[str, "CSV file or http(s) URL with the columns id, url, landmark_id; or a world .yaml"],
    table: Annotated[Path, "CSV to write"],
    counts: Annotated[Path, "JSON to write: how many rows"],
) -> None:
    """Check a catalogue (columns there, ids unique and fit to name a file) and keep its three columns."""
    if source.endswith((".yaml", ".yml")):
        from landmarks.demo import world  # here: a renderer is much to load for who reads a CSV

        rows = world.rows(**world.describe(Path(source)))
        columns = map(list, zip(*rows, strict=True))
        made = pa.table(dict(zip(catalogues.COLUMNS, columns, strict=True))).to_batches()
        count = catalogues.write(table, catalogues.checked(source, made, lambda: made))
    else:
        with catalogues.local(source) as path, closing(catalogues.batches(path)) as found:
            count = catalogues.write(table, catalogues.checked(source, found, lambda: catalogues.batches(path)))
    write_json(counts, {"rows": count})


if __name__ == "__main__":
    stage.run(main)
