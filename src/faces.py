"""Draw the least certain faces of anonymized photos, for a person to check: what the gallery stage does for the experiment."""

from pathlib import Path
from typing import Annotated

import typer

import stage
from landmarks.common.files import read_json
from landmarks.reporting import gallery


def main(
    audit: Annotated[Path, typer.Argument(help="faces.json of the anonymize script")],
    anonymous: Annotated[Path, typer.Argument(help="Folder that it wrote the photos to")],
    sheet: Annotated[Path, typer.Argument(help="PNG to write")],
) -> None:
    """Draw the faces with the lowest scores as they look after they were obscured, with score and photo."""
    gallery.least_certain(sheet, anonymous, read_json(audit, "anonymize")["photos"])


if __name__ == "__main__":
    stage.run(main)
