"""Names of all landmarks of a dataset, in the millions of rows: read as a stream, of which a few are kept."""

from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from landmarks.common.errors import InputError
from landmarks.dataset import clean_subset, places, schema, table_files
from landmarks.dataset.places import Places
from landmarks.dataset.table_files import TableFile

CATEGORIES = ("landmark_id", "category")  # of Google Landmarks v2's train_label_to_category.csv
CATEGORY = "Category:"  # before the name in the address of a category of Wikimedia Commons


def columns(table: TableFile) -> tuple[str, ...]:
    """Which columns of a table of names are read: its ``places.COLUMNS``, or ``CATEGORIES``. Raises ``InputError`` if it has neither."""
    there = table_files.header(table)
    if set(CATEGORIES) <= set(there):
        return CATEGORIES
    schema.require(table.name, there, places.NEEDED)
    return tuple(column for column in places.COLUMNS if column in there)


def read(table: TableFile, landmarks: Iterable[str]) -> Places:
    """Of a table of all landmarks, those of ``landmarks``: a table with ``places.COLUMNS``, or train_label_to_category.csv as it is.

    Raises ``InputError`` as ``places.read``, and if none of ``landmarks`` is in it.
    """
    read_columns, wanted = columns(table), set(landmarks)
    categories = read_columns == CATEGORIES
    kept, number = [], 2
    for batch in table_files.batches(table, read_columns):
        ids = clean_subset.landmark_ids(batch[read_columns[0]]).to_pylist()
        for place, id_ in enumerate(ids):
            if id_.strip() in wanted:
                row = {column: batch[column][place].as_py() for column in read_columns} | {read_columns[0]: id_.strip()}
                kept.append((number + place, _category(row) if categories else row))
        number += len(ids)
    if not kept:
        raise InputError(f"{table.name}: none of its landmarks is in the sample; give the names of the same dataset")
    return places.collect(table.name, kept)


def _category(row: Mapping[str, str]) -> dict[str, str]:
    """Name and address of a landmark from its category of Wikimedia Commons."""
    address = row["category"].strip()
    name = unquote(address.partition(CATEGORY)[2] or address.rpartition("/")[2]).replace("_", " ")
    return {"id": row["landmark_id"], "name": name, "url": address}
