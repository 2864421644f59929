"""What every stage script shares: its command line."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from landmarks.common.errors import InputError

# the block `encoding` of params.yaml, which several stages take
Keypoints = Annotated[int, typer.Option(min=1, max=4096, help="flat: strongest descriptors laid end to end")]
Words = Annotated[int, typer.Option(min=2, help="The other encodings: size of the vocabulary")]
Components = Annotated[int, typer.Option(min=1, help="… principal components of a descriptor")]
Sample = Annotated[int, typer.Option(min=2, help="… descriptors they learn from")]

# of the scripts that answer with a trained network
Model = Annotated[Path, typer.Option(help="JSON of the cnn stage, its weights beside it")]
Unchecked = Annotated[bool, typer.Option("--unchecked", help="Take a model that dvc.lock does not know")]
Names = Annotated[Path | None, typer.Option(help="CSV of id, name: what landmarks are called")]
Threshold = Annotated[
    float | None, typer.Option(min=0, max=1, help="Least confidence of an answer [the reject stage's]")
]
MODEL = Path("models/plain.json")


def run(main: Callable[..., None]) -> None:
    """Run ``main`` as a typer command whose ``--per_class`` is also ``--per-class``, as DVC unpacks parameters.

    What a person can put right ends with exit code 1 and one line; a defect of ours keeps its traceback.
    """
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"token_normalize_func": lambda token: token.replace("_", "-")},
    )

    @functools.wraps(main)
    def command(**arguments: Any) -> None:
        try:
            main(**arguments)
            return
        except (InputError, OSError) as error:
            said = str(error)
        # only now: until here the traceback kept progress bars open, and the line would stand behind one
        print(f"{Path(sys.argv[0]).stem}: {said}", file=sys.stderr)
        raise typer.Exit(1)

    app.command()(command)
    app()
