"""What the tests share that is no fixture: ``from support import ...`` works in every folder of tests/."""

from hypothesis import settings

from support.clones import Clone, once, small_clone
from support.models import SIDE, fetch_settings, gate_settings, pipeline, preprocessing, recipe, record, turned
from support.scripts import ROOT, Done, Script, fails_in_one_line, kill_when, recorded, run_here, run_process
from support.web_host import Host, self_signed, serving

USUAL = 100  # examples of a property, unless a profile or the property says otherwise


def examples(count: int) -> int:
    """So many examples of a property; more under the profile nightly."""
    return count * settings().max_examples // USUAL


def fuzzed(count: int = 100) -> int:
    """So many examples of a property about untrusted input; 10,000 under the profile nightly."""
    return 10_000 if settings().max_examples > USUAL else count


__all__ = [
    "ROOT",
    "SIDE",
    "Clone",
    "Done",
    "Host",
    "Script",
    "examples",
    "fails_in_one_line",
    "fetch_settings",
    "fuzzed",
    "gate_settings",
    "kill_when",
    "once",
    "pipeline",
    "preprocessing",
    "recipe",
    "record",
    "recorded",
    "run_here",
    "run_process",
    "self_signed",
    "serving",
    "small_clone",
    "turned",
]
