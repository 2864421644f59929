"""The command line of the stages: their parameters become options, their defaults are those of params.yaml.

A parameter of ``main`` whose type is a dataclass of knobs (``landmarks.common.knobs``) stands for the block of its name in
params.yaml, or for an entry of one: each field becomes an option. A single annotated knob stands for a value at the top,
an annotated string is the help of an argument.
"""

import functools
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer

from landmarks.common import knobs
from landmarks.common.errors import InputError
from landmarks.common.files import read_yaml
from landmarks.common.knobs import Knob

STARTED = time.monotonic()
PARAMS = Path(__file__).parents[1] / "params.yaml"
VERSIONS = PARAMS.with_name("versions.yaml")
WIDTH = 18  # of the longest usual name of a stage
Block = TypeVar("Block")


@dataclass(frozen=True)
class TitleConfig:
    """The block ``report`` of params.yaml."""

    title: Annotated[str, Knob("What the photos are of")]


@dataclass(frozen=True)
class StorageConfig:
    """The block ``storage`` of params.yaml."""

    shard: Annotated[int, Knob("Photos in a TAR file of data/images and data/anonymous; 0: a file a photo", min=0)]


Seed = Annotated[int, Knob("Of everything random but the choice of photos", min=0)]


@functools.cache
def params() -> dict[str, Any]:
    """All of params.yaml. Raises ``InputError`` if it is missing or is something else, or a value is null."""
    found = read_yaml(PARAMS)
    if null := next(_nulls(found, ""), None):
        raise InputError(f'{PARAMS}: {null} is null; give it a value (for an empty text, "")')
    return found


def _nulls(value: Any, name: str) -> Iterator[str]:
    """The names of the parameters without a value: DVC would hand over the text None."""
    if value is None:
        yield name
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from _nulls(entry, f"{name}[{key}]" if isinstance(value, list) else f"{name}.{key}".lstrip("."))


def block(name: str, kind: type[Block], **changed: Any) -> Block:
    """A block of params.yaml with some values ``changed``. Raises ``InputError`` if a value is missing."""
    try:
        return knobs.build(kind, {**params()[name], **changed})
    except KeyError as error:
        raise InputError(f"{PARAMS}: no {name}.{error.args[0]} in it; run: git checkout params.yaml") from None


def models() -> list[str]:
    """The names of all models that params.yaml declares, in its order."""
    return [name for group in ("models", "networks", "ensembles") for name in params()[group]]


def there(count: int) -> str:
    """What a resumed stage adds to its result: of how many photos it found the results of an earlier run."""
    return f", {count} were there already" if count else ""


def declared(folder: Path, ending: str, names: list[str], chosen: list[str]) -> dict[str, Path]:
    """The file ``<name><ending>`` of each of ``chosen``; where none is, of each of ``names``, and no other may be there.

    Raises ``InputError`` at a file that params.yaml does not declare, left by an earlier experiment: a fresh clone lacks it.
    """
    stray = set() if chosen else {path.name for path in folder.glob(f"*{ending}")}.difference(n + ending for n in names)
    if stray:
        raise InputError(f"{folder / min(stray)}: params.yaml declares none of that name; remove the file")
    return {name: folder / f"{name}{ending}" for name in chosen or names}


def run(main: Callable[..., str | None]) -> None:
    """Run ``main`` as a typer command; see ``application``."""
    application(main)()


def application(main: Callable[..., str | None]) -> typer.Typer:
    """``main`` as a typer command, whose ``--per_class`` is also ``--per-class``, as DVC unpacks parameters.

    What it returns, what came out in a few words, is printed behind the stage's name, with the seconds since this module was imported.
    What a person can put right ends with exit code 1 and one line; a defect in the code keeps its traceback.
    """
    spelling = {"token_normalize_func": lambda token: token.replace("_", "-")}
    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False, context_settings=spelling)
    signature, name = inspect.signature(main, eval_str=True), Path(inspect.getfile(main)).stem
    blocks = {block: _class(parameter.annotation) for block, parameter in signature.parameters.items()
              if is_dataclass(parameter.annotation)}  # fmt: skip

    def command(**values: Any) -> None:
        try:
            built: dict[str, Any] = {block: knobs.build(kind, {knob: values.pop(knob) for knob, _, _ in knobs.knobs(kind)})
                     for block, kind in blocks.items()}  # fmt: skip
            _require_versions()
            if result := main(**values, **built):
                seconds = time.monotonic() - STARTED
                print(f"{os.environ.get('DVC_STAGE', name):{WIDTH}}  {result}  ({seconds:.0f} s)", flush=True)
            return
        except (InputError, OSError) as error:
            problem = str(error)
        # only now: until here the traceback kept progress bars open, and the line would stand behind one
        print(f"{name}: {problem}", file=sys.stderr)
        raise typer.Exit(1)

    try:
        options = list(_expanded(signature.parameters))
    except InputError as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    command.__doc__ = main.__doc__
    command.__signature__ = signature.replace(parameters=options)  # type: ignore[attr-defined]  # what inspect looks for
    command.__annotations__ = {option.name: option.annotation for option in options}
    made.command()(command)
    return made


def _require_versions() -> None:
    """Within DVC: raise ``InputError`` if a library has another version than versions.yaml, which DVC records with the result."""
    if "DVC_STAGE" not in os.environ:
        return
    for name, version in read_yaml(VERSIONS).items():
        if (installed := metadata.version(name)) != version:
            raise InputError(f"{name} {installed} is installed, versions.yaml has {version}; run: make setup (or lock)")


def _expanded(parameters: Mapping[str, inspect.Parameter]) -> Iterator[inspect.Parameter]:
    """Blocks and knobs as typer's options, everything else as it is."""
    for name, parameter in parameters.items():
        kind = parameter.annotation
        if is_dataclass(kind):
            given, own = params().get(name, {}), {field.name: field.default for field in fields(kind)}
            for knob, value, meaning in knobs.knobs(_class(kind)):
                yield _option(knob, value, meaning, given.get(knob, own.get(knob, MISSING)))
        elif any(isinstance(note, Knob) for note in get_args(kind)[1:]):
            value, meaning = get_args(kind)[:2]
            yield _option(name, value, meaning, params().get(name, MISSING))
        else:
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=_argument(kind))


def _argument(kind: Any) -> Any:
    """A parameter of the command line as typer takes it; a string that is annotated is its help."""
    note = next(iter(getattr(kind, "__metadata__", ())), None)
    return Annotated[kind.__origin__, typer.Argument(help=note)] if isinstance(note, str) else kind


def _option(name: str, kind: Any, knob: Knob, default: Any) -> inspect.Parameter:
    option = typer.Option(help=knob.help, min=knob.min, max=knob.max)
    if get_origin(kind) is tuple:
        entry = get_args(kind)[0]
        kind = list[str if get_origin(entry) is Literal else entry]  # type: ignore[misc]  # typer takes no list of choices
        default = [default] if isinstance(default, str) else default
    chosen = inspect.Parameter.empty if default is MISSING else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=chosen, annotation=Annotated[kind, option])


def _class(kind: Any) -> type:
    return kind
