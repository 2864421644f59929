"""Parameters of the experiment. Each is declared once: a field of a dataclass, with its meaning and its bounds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

Block = TypeVar("Block")


@dataclass(frozen=True)
class Knob:
    """Meaning and bounds of a parameter, as the annotation of a field: ``rate: Annotated[float, Knob("...", min=0)]``."""

    help: str
    min: float | None = None
    max: float | None = None


def knobs(block: type) -> Iterator[tuple[str, Any, Knob]]:
    """Name, type and knob of each field of a dataclass; the fields of a dataclass inside it count as its own."""
    for name, kind in _hints(block).items():
        if is_dataclass(kind):
            yield from knobs(_class(kind))
        else:
            value, *notes = get_args(kind)
            yield name, value, next(note for note in notes if isinstance(note, Knob))


def build(block: type[Block], values: Mapping[str, Any]) -> Block:
    """A dataclass from one flat mapping, which holds the fields of the dataclasses inside it as well.

    Raises ``KeyError`` if a value is missing.
    """
    given = {
        name: build(_class(kind), values) if is_dataclass(kind) else _value(kind, values[name])
        for name, kind in _hints(block).items()
    }
    return block(**given)


def restore(block: type[Block], stored: Mapping[str, Any]) -> Block:
    """The dataclass that ``dataclasses.asdict`` made ``stored`` of, after a way through JSON.

    Raises ``KeyError`` or ``TypeError`` if it has other fields.
    """
    hints = _hints(block)
    if unknown := set(stored).difference(hints):
        raise KeyError(min(unknown))
    given = {
        name: restore(_class(kind), stored[name]) if is_dataclass(kind) else _value(kind, stored[name])
        for name, kind in hints.items()
    }
    return block(**given)


def flat(block: Any) -> dict[str, Any]:
    """The values of a dataclass and of those inside it, by name."""
    values: dict[str, Any] = {}
    for field in fields(block):
        value = getattr(block, field.name)
        values |= flat(value) if is_dataclass(value) else {field.name: value}
    return values


def _hints(block: type) -> dict[str, Any]:
    hints = get_type_hints(block, include_extras=True)
    return {field.name: hints[field.name] for field in fields(block)}


def _class(kind: Any) -> type:
    return kind


def _value(kind: Any, value: Any) -> Any:
    """Lists, which command lines and JSON give, become the tuples that a frozen dataclass holds; so does a lone text."""
    plain = get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
    if get_origin(plain) is not tuple:
        return value
    return (value,) if isinstance(value, str) else tuple(value)
