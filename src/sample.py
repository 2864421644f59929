"""Choose the landmarks and the photos of the experiment."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pyarrow
from pyarrow.compute import is_in
from pyarrow.parquet import ParquetFile

import catalogue
import stage
from landmarks.common.errors import InputError
from landmarks.common.knobs import Knob
from landmarks.dataset import catalogues, sampling, schema


@dataclass(frozen=True)
class SampleConfig:
    """The block ``sample`` of params.yaml."""

    classes: Annotated[int, Knob("How many landmarks: the commonest, ties broken by the lower id", min=2)]
    per_class: Annotated[int, Knob("Photos of each", min=1)]
    reserve: Annotated[int, Knob("Further photos of each, at most, to replace the expired", min=0)]
    unknown: Annotated[int, Knob("Photos of other landmarks, for open-set rejection", min=0)]
    seed: Annotated[int, Knob("Which photos", min=0)]


@dataclass(frozen=True)
class ExternalConfig:
    """The block ``external`` of params.yaml."""

    source: Annotated[
        str,
        Knob(
            "Photos of the same landmarks from elsewhere, never trained on: as catalogue.source; a table without rows is no test"
        ),
    ]
    photos: Annotated[int, Knob("Photos of each landmark, at most", min=0)]
    others: Annotated[int, Knob("Photos of other landmarks, at most, for open-set rejection", min=0)]


def main(
    clean: Annotated[Path, "Parquet file of the clean stage"],
    table: Annotated[Path, "CSV to write: id, url, landmark_id, reserve"],
    sample: SampleConfig,
    external: ExternalConfig,
) -> str:
    """Sample the same number of photos of each of the commonest landmarks, and an ordered reserve behind them.

    Photos of another source, of the same landmarks and of others, stand at the end: the ids of the external test begin with
    ``external.``
    """
    try:
        with ParquetFile(clean, memory_map=True, read_dictionary=["landmark_id"]) as file:
            schema.require(clean, file.schema_arrow.names, catalogues.COLUMNS)
            column = file.read(columns=["landmark_id"])["landmark_id"].cast("string")
            landmarks = sampling.commonest(column, sample.classes, sample.per_class)
            if schema.UNKNOWN in landmarks:
                raise InputError(f"{clean}: a landmark is called {schema.UNKNOWN!r}, which means others; rename it")
            wanted = sample.unknown and sample.unknown + sample.reserve
            others = sampling.others(column, landmarks, wanted, sample.seed)
            chosen = pyarrow.array(landmarks + others)
            blocks = map(file.read_row_group, range(file.num_row_groups))
            rows = pyarrow.concat_tables(block.filter(is_in(block["landmark_id"], chosen)) for block in blocks)
    except pyarrow.ArrowInvalid as error:
        raise InputError(f"{clean}: not a file of the clean stage ({error}); run: dvc repro clean") from None
    rows = rows.cast(catalogues.SCHEMA)
    drawn = sampling.sample(rows, landmarks, sample.per_class, sample.reserve, sample.seed)
    if sample.unknown:
        unknown = sampling.unknown(rows, others, sample.unknown, sample.reserve, sample.seed)
        drawn = pyarrow.concat_tables([drawn, unknown])
    elsewhere = sampling.external(_complete(external.source), landmarks, external.photos, external.others, sample.seed)
    catalogues.write(table, pyarrow.concat_tables([drawn, elsewhere]).to_batches())
    told = f"{len(drawn):,} photos drawn, reserve and other landmarks included, for {len(landmarks)} landmarks"
    return f"{told}; {len(elsewhere)} from another source"


def _complete(source: str) -> pyarrow.Table:
    """The rows of the external source that have no null."""
    with ExitStack() as stack:
        found = catalogue.rows(source, stack, setting="external.source", rows_needed=False)
        return pyarrow.Table.from_batches((catalogues.clean(batch)[0] for batch in found), catalogues.SCHEMA)


if __name__ == "__main__":
    stage.run(main)
