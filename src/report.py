"""The whole experiment on one page, in the order of the thesis."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import stage
from landmarks.reporting import html_page, report


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the template, its words and the thesis' values")],
    data: Annotated[Path, typer.Argument(help="Folder of the tables, the keypoints and the examined photos")],
    plots: Annotated[Path, typer.Argument(help="Folder of the plots")],
    models: Annotated[Path, typer.Argument(help="Folder of the models")],
    results: Annotated[Path, typer.Argument(help="JSON of the evaluate stage")],
    params: Annotated[Path, typer.Argument(help="YAML of all parameters")],
    profile: Annotated[Path, typer.Argument(help="YAML of the thesis' parameters")],
    lock: Annotated[Path, typer.Argument(help="Pinned packages")],
    page: Annotated[Path, typer.Argument(help="HTML to write: one file that needs no other")],
    language: Annotated[Literal["en", "es"], typer.Option(help="Language of the words")] = "en",
) -> None:
    """Write one HTML file with every figure and table of the thesis, filled with our numbers and pictures."""
    facts = report.gather(data, plots, models, results, params, profile, lock, folder / "thesis.yaml")
    words = html_page.Words(folder / f"{language}.yaml", facts)
    html_page.write(page, folder, words, {**facts, "charts": report.draw(facts, words), "language": language})


if __name__ == "__main__":
    stage.run(main)
