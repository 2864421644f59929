"""Say what the landmarks of the experiment are called."""

import sys
from pathlib import Path
from typing import Annotated

import stage
from catalogue import CatalogueConfig
from landmarks.dataset import catalogues, place_tables, places, schema, table_files
from landmarks.demo import names as demo_names


def main(
    sample: Annotated[Path, "CSV of the sample stage"],
    table: Annotated[Path, "CSV to write: id, name and what else is known of each landmark that is learnt"],
    catalogue: CatalogueConfig,
) -> str:
    """Gather names and further facts of the landmarks; what shows them to people reads them, nothing computes on them."""
    rows = catalogues.read(sample)
    addresses = dict(zip(rows["landmark_id"].to_pylist(), rows["url"].to_pylist(), strict=True))
    learnt = sorted(addresses.keys() - {schema.UNKNOWN}, key=schema.natural)
    found = {landmark: demo_names.of(addresses[landmark], landmark) for landmark in learnt}
    if catalogue.names:
        with table_files.local(catalogue.names, "catalogue.names") as file:
            given = place_tables.read(file, learnt)
        if lacking := len(learnt) - len(given):
            print(f"places: {catalogue.names} does not name {lacking} of {len(learnt)} landmarks", file=sys.stderr)
        found |= given
    places.write(table, found.values())
    named = sum(place.name != place.id for place in found.values())
    return f"{named} of {len(learnt)} landmarks have a name that is not their id"


if __name__ == "__main__":
    stage.run(main)
