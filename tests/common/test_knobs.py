"""A parameter is declared once; options, files and objects are made from the declaration."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmarks.common import knobs
from landmarks.common.knobs import Knob


@dataclass(frozen=True)
class Inner:
    rate: Annotated[float, Knob("how fast", min=0, max=1)]
    kind: Annotated[Literal["a", "b"], Knob("which")]


@dataclass(frozen=True)
class Outer:
    layers: Annotated[tuple[int, ...], Knob("how many units")]
    inner: Inner
    flip: Annotated[bool, Knob("mirrored")]


VALUES = st.fixed_dictionaries({
    "layers": st.lists(st.integers()), "rate": st.floats(0, 1), "kind": st.sampled_from("ab"), "flip": st.booleans()
})  # fmt: skip


def test_the_knobs_of_a_block_within_a_block_count_as_its_own_in_order() -> None:
    found = [(name, knob.help, knob.max) for name, _, knob in knobs.knobs(Outer)]
    assert found == [("layers", "how many units", None), ("rate", "how fast", 1), ("kind", "which", None), ("flip", "mirrored", None)]  # fmt: skip


@given(VALUES)
def test_a_block_holds_the_flat_values_it_was_built_from(values: dict[str, object]) -> None:
    assert knobs.flat(knobs.build(Outer, values)) == {**values, "layers": tuple(values["layers"])}  # type: ignore[arg-type]  # a list


@given(VALUES)
def test_a_block_survives_a_json_file(values: dict[str, object]) -> None:
    built = knobs.build(Outer, values)
    assert knobs.restore(Outer, json.loads(json.dumps(dataclasses.asdict(built)))) == built


def test_a_missing_and_an_unknown_value_are_errors_that_name_it() -> None:
    with pytest.raises(KeyError, match="rate"):
        knobs.build(Outer, {"layers": [], "kind": "a", "flip": True})
    stored = {"layers": [], "inner": {"rate": 0.5, "kind": "a"}, "flip": True}
    with pytest.raises(KeyError, match="depth"):
        knobs.restore(Outer, {**stored, "depth": 3})
    with pytest.raises(KeyError, match="inner"):
        knobs.restore(Outer, {"layers": [], "flip": True})
