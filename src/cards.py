"""Write the model card and the dataset card."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

import stage
from landmarks.common.errors import InputError
from landmarks.common.files import read_json, whole
from landmarks.common.knobs import Knob
from landmarks.dataset import places, schema, table_files, tables
from landmarks.evaluation import results
from landmarks.reporting import cards as card_files
from landmarks.reporting import croissant
from landmarks.reporting.inputs import recipe

DEMO = "demo://"  # addresses of synthetic photos
AUTHOR, LICENSE = "made by the code of this repository", "none: no third party has rights in it"


@dataclass(frozen=True)
class CardsConfig:
    """The block ``cards`` of params.yaml."""

    attribution: Annotated[
        str, Knob("CSV of id, url, author, license, title: path or http(s) URL; the .yaml of a demo dataset has none")
    ]


def main(
    evaluation: Annotated[Path, typer.Argument(help="JSON of the evaluate stage")],
    sample: Annotated[Path, typer.Argument(help="CSV of the sample stage: where each photo is from")],
    split: Annotated[Path, typer.Argument(help="CSV of the split stage")],
    unknown: Annotated[Path, typer.Argument(help="CSV of the split stage: photos of other landmarks")],
    audit: Annotated[Path, typer.Argument(help="JSON of the anonymize stage")],
    model: Annotated[Path, typer.Argument(help="JSON of the cnn stage")],
    landmarks: Annotated[Path, typer.Argument(help="CSV of the places stage")],
    table: Annotated[
        Path, typer.Argument(help="CSV to write: author, licence and title of each photo used, as far as known")
    ],
    model_card: Annotated[Path, typer.Argument(help="Markdown to write")],
    dataset_card: Annotated[
        Path, typer.Argument(help="Markdown to write; the same for programs, croissant.json, goes beside it")
    ],
    cards: CardsConfig,
    report: stage.TitleConfig,
    storage: stage.StorageConfig,
) -> str:
    """Write the model card and the dataset card, every number from the evaluation; and a table of who took which photo.

    Photos of Google Landmarks are under Creative Commons licences that ask for author and licence to be named: give its
    train_attribution.csv. Photos without a row there are counted in the card, and the first is named.
    """
    parts = tables.read_split(split)
    used = [*parts.index, *tables.read(unknown, ["id"])["id"]]
    urls = tables.read(sample, ["id", "url"]).set_index("id")["url"]
    if unknown_ids := set(used).difference(urls.index):
        raise InputError(f"{sample}: lacks the photo {min(unknown_ids)!r} of the split; run: dvc repro")
    credits = _credits(cards.attribution, urls[used])
    missing = [photo for photo in used if photo not in credits.index]
    if missing:
        count = f"{len(missing)} of {len(used)}"
        print(f"cards: {count} photos have no attribution, the first {missing[0]}", file=sys.stderr)
    tables.write(table, credits.sort_index().reset_index())
    found = results.read(evaluation)
    trained = read_json(model, "cnn")
    names = places.names(landmarks)
    labels = [names[label] for label in trained["labels"]]
    values: dict[str, Any] = {
        "models": found.models, "data": found.data, "title": report.title, "labels": labels, "names": names, "recipe": recipe(model),
        "temperature": trained["temperature"], "audit": read_json(audit, "anonymize"), "used": len(used),
        "missing": missing, "demo": bool(urls[used].str.startswith(DEMO).all()), "network": model.stem,
        "licenses": sorted(credits["license"].value_counts().items(), key=lambda row: (-row[1], row[0])),
        "size": card_files.size_category(len(used)), "table": str(table), "shards": storage.shard > 0,
    }  # fmt: skip
    for card in (model_card, dataset_card):
        with whole(card) as partial:
            partial.write_text(card_files.render(card.name, values))
    photos = {part: int((parts["split"] == part).sum()) for part in schema.PARTS}
    licences = sorted(set(credits["license"])) or ["unknown"]
    croissant.write(
        dataset_card.with_name("croissant.json"), report.title, labels, photos, licences, split, values["shards"]
    )
    return f"{model_card}, {dataset_card}"


def _credits(source: str, urls: "pd.Series[str]") -> pd.DataFrame:
    """Url, author, licence and title by id: from the table, or our own where the photo is synthetic."""
    demo = urls[urls.str.startswith(DEMO)]
    own = pd.DataFrame({"url": demo, "author": AUTHOR, "license": LICENSE, "title": ""}, index=demo.index)
    if not source or source.endswith((".yaml", ".yml")):
        return own
    with table_files.local(source, "cards.attribution") as file:
        given = card_files.attributions(file, urls.index)
    return pd.concat([given, own.drop(given.index, errors="ignore")]).rename_axis("id")


if __name__ == "__main__":
    stage.run(main)
