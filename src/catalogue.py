"""Bring in the catalogue: a table of (id, url, landmark_id), a folder of photos, or that of the synthetic demo dataset."""

import functools
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pyarrow as pa

import stage
from landmarks.common.errors import InputError
from landmarks.common.files import write_json
from landmarks.common.knobs import Knob
from landmarks.dataset import catalogues, clean_subset, table_files
from landmarks.images import folder_catalogue, folders


@dataclass(frozen=True)
class CatalogueConfig:
    """The block ``catalogue`` of params.yaml."""

    source: Annotated[
        str,
        Knob(
            "Table with the columns id, url, landmark_id, path or URL; a folder of photos, a subfolder a landmark; or the .yaml "
            "of a demo dataset"
        ),
    ]
    clean: Annotated[
        str, Knob("Only these photos: Google Landmarks v2's train_clean.csv (landmark_id, images), path or URL; or ''")
    ]
    names: Annotated[
        str,
        Knob(
            "What landmarks are called: table of id, name and, if known, description, country, latitude, longitude, url, picture; "
            "or Google Landmarks v2's train_label_to_category.csv; path or URL; ''"
        ),
    ]


def main(
    table: Annotated[Path, "CSV to write"],
    counts: Annotated[Path, "JSON to write: how many rows"],
    catalogue: CatalogueConfig,
) -> str:
    """Check a catalogue (columns there, ids unique and fit to name a file) and keep its three columns.

    CSV (comma, semicolon or TAB; UTF-8 or UTF-16; as it is, .gz or .zip) and Parquet are read.
    """
    with ExitStack() as stack:
        found = rows(catalogue.source, stack)
        if catalogue.clean:
            subset = clean_subset.CleanSubset(
                stack.enter_context(table_files.local(catalogue.clean, "catalogue.clean"))
            )
            selected: Counter[str] = Counter()
            count = catalogues.write(table, _some(subset.select(found, selected), catalogue))
            kept = f"{selected['kept']} of {selected['rows']} rows are kept; {len(subset) - selected['kept']} photos of"
            relabelled = f"{selected['relabelled']} rows had another landmark_id than there"
            print(f"catalogue: {kept} {catalogue.clean} have no row, {relabelled}", file=sys.stderr)
        else:
            count = catalogues.write(table, found)
    write_json(counts, {"rows": count})
    return f"{count:,} photos listed"


def rows(
    source: str, stack: ExitStack, quiet: bool = False, setting: str = "catalogue.source", rows_needed: bool = True
) -> Iterator[pa.RecordBatch]:
    """The rows of ``source``, which the parameter ``setting`` names, checked; it stays open as long as ``stack``.

    Raises ``InputError`` if it is no catalogue, or, where ``rows_needed``, has no row.
    """
    made = _made(source, quiet)
    if made is not None:
        return catalogues.checked(source, made, lambda: made)
    file = stack.enter_context(table_files.local(source, setting))
    found = stack.enter_context(closing(catalogues.batches(file, rows_needed)))
    return catalogues.checked(source, found, lambda: catalogues.batches(file))


@functools.lru_cache(maxsize=1)
def _in_folder(folder: Path, _: tuple[tuple[Path, int, int], ...]) -> list[tuple[str, str, str]]:
    """The rows of a folder whose photos have these sizes and times: their bytes are read once, however often these are asked for."""
    return list(folder_catalogue.rows(folder, folders.list_photos(folder)))


def _made(source: str, quiet: bool) -> list[pa.RecordBatch] | None:
    """The rows of a source that is no table, but a demo dataset or a folder of photos."""
    if source.lower().endswith((".yaml", ".yml")):
        from landmarks.demo import world  # here: a renderer is much to load for who reads a CSV

        photos = world.listed(Path(source))
    elif (folder := Path(source)).is_dir():
        listing = folders.list_photos(folder)
        photos = _in_folder(
            folder, tuple((path, (about := path.stat()).st_size, about.st_mtime_ns) for path in listing.paths)
        )
        if not quiet and (alone := len(listing.paths) - len(photos)):
            print(f"catalogue: {source}: {alone} photos in no subfolder are left out", file=sys.stderr)
        if not quiet and listing.others:
            print(f"catalogue: {source}: {folders.summary(listing.others)}", file=sys.stderr)
    else:
        return None
    columns = map(list, zip(*photos, strict=True))
    return pa.table(dict(zip(catalogues.COLUMNS, columns, strict=True))).to_batches()


def _some(rows: Iterator[pa.RecordBatch], catalogue: CatalogueConfig) -> Iterator[pa.RecordBatch]:
    """The rows; raises ``InputError`` if there are none."""
    first = next(rows, None)
    if first is None:
        raise InputError(
            f"{catalogue.clean}: none of its photos is in {catalogue.source}; give the lists of one dataset"
        )
    yield first
    yield from rows


if __name__ == "__main__":
    stage.run(main)
