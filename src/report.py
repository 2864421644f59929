"""The whole experiment on one page, in the order of the thesis."""

from pathlib import Path
from typing import Annotated

import typer

import stage
from landmarks.reporting import html_page
from landmarks.reporting.report import gather


def main(
    data: Annotated[Path, typer.Argument(help="Folder of the tables, the keypoints and the examined photos")],
    plots: Annotated[Path, typer.Argument(help="Folder of the plots")],
    models: Annotated[Path, typer.Argument(help="Folder of the models")],
    evaluation: Annotated[Path, typer.Argument(help="JSON of the evaluate stage")],
    params: Annotated[Path, typer.Argument(help="YAML of all parameters")],
    profile: Annotated[Path, typer.Argument(help="YAML of the thesis' parameters")],
    lock: Annotated[Path, typer.Argument(help="Pinned packages")],
    page: Annotated[Path, typer.Argument(help="HTML to write: one file that needs no other")],
    report: stage.TitleConfig,
) -> str:
    """Write one HTML file with every figure and table of the thesis, filled with our numbers and pictures."""
    html_page.write(page, gather(data, plots, models, evaluation, params, profile, lock, report.title))
    return str(page)


if __name__ == "__main__":
    stage.run(main)
