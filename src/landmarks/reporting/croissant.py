"""The dataset in the words of Croissant 1.0 (MLCommons, 2024): JSON-LD that catalogues and data loaders of the field read."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landmarks.common.files import sha256, write_json

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
THESIS = "Clasificación multiclase de imágenes aplicada en reconocimiento de lugares, Universidad de Antioquia, 2021"
MEANINGS = {
    "id": "Names the photo and its file",
    "landmark_id": "The landmark in it",
    "split": "train, validation or test; external: of another source",
}


def write(
    path: Path, title: str, labels: Sequence[str], photos: Mapping[str, int], licences: Sequence[str], split: Path,
    shards: bool = False,
) -> None:  # fmt: skip
    """Write the dataset as Croissant tells it; ``photos`` by part, ``split`` the table of the split stage.

    The addresses in it are relative to the folder of ``path``; `dvc pull` brings the files, of photos TARs with ``shards``.
    """
    parts = ", ".join(f"{count} for {part}" for part, count in photos.items())
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "landmarks",
        "description": f"{title}: photos of {len(labels)} landmarks ({parts}), faces obscured. See docs/dataset_card.md.",
        "license": list(licences),
        "creator": {"@type": "sc:Organization", "name": "The contributors"},
        "citeAs": THESIS,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "split",
                "contentUrl": _beside(path, split),
                "encodingFormat": "text/csv",
                "sha256": sha256(split),
            },
            {
                "@type": "cr:FileSet",
                "@id": "photos",
                "encodingFormat": "application/x-tar" if shards else "image/jpeg",
                "includes": f"{_beside(path, split.parent)}/anonymous/*.{'tar' if shards else 'jpg'}",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "rows",
                "description": "A row a photo; its picture is <id>.jpg in data/anonymous"
                + " or a TAR there" * shards
                + ".",
                "key": {"@id": "rows/id"},
                "field": [_field(column, meaning) for column, meaning in MEANINGS.items()],
            }
        ],
    }
    write_json(path, described)


def _beside(path: Path, other: Path) -> str:
    return Path(os.path.relpath(other, path.parent)).as_posix()


def _field(column: str, meaning: str) -> dict[str, Any]:
    source = {"fileObject": {"@id": "split"}, "extract": {"column": column}}
    return {
        "@type": "cr:Field",
        "@id": f"rows/{column}",
        "description": meaning,
        "dataType": "sc:Text",
        "source": source,
    }
