"""Names of all landmarks of a dataset, in the millions of rows: read as a stream, of which a few are kept."""

from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from landmarks.common.errors import InputError
from landmarks.dataset import clean_subset, places, table_files
from landmarks.dataset.places import Places
from landmarks.dataset.table_files import TableFile

CATEGORIES = ("landmark_id", "category")  # of Google Landmarks v2's train_label_to_category.csv
CATEGORY = "Category:"  # before the name in the address of a category of Wikimedia Commons


def read(table: TableFile, landmarks: Iterable[str]) -> Places:
    """Of a table of all landmarks, those of ``landmarks``: a table with ``places.COLUMNS``, or train_label_to_category.csv as it is.

    Raises ``InputError`` as ``places.read``, and if none of ``landmarks`` is in it.
    """
    there, wanted = table_files.header(table), set(landmarks)
    categories = set(CATEGORIES) <= set(there)
    columns = CATEGORIES if categories else [column for column in places.COLUMNS if column in {*there, *places.NEEDED}]
    kept, number = [], 2
    for batch in table_files.batches(table, columns):
        ids = clean_subset.landmark_ids(batch[columns[0]]).to_pylist()
        for place, id_ in enumerate(ids):
            if id_.strip() in wanted:
                row = {column: batch[column][place].as_py() for column in columns} | {columns[0]: id_.strip()}
                kept.append((number + place, _category(row) if categories else row))
        number += len(ids)
    if not kept:
        raise InputError(f"{table.name}: none of its landmarks is in the sample; give the names of the same dataset")
    return places.collect(table.name, kept)


def _category(row: Mapping[str, str]) -> dict[str, str]:
    """Name and address of a landmark from its category of Wikimedia Commons."""
    address = row["category"].strip()
    name = unquote(address.rpartition("/")[2]).removeprefix(CATEGORY).replace("_", " ")
    return {"id": row["landmark_id"], "name": name, "url": address}
