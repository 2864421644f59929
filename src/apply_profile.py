"""Turn params.yaml into another experiment: `make profile NAME=thesis`; back: `git checkout params.yaml`.

No stage. A profile holds only what differs from params.yaml; the comment that it begins with says what it needs.
"""

import itertools
from pathlib import Path
from typing import Annotated, Any

from ruamel.yaml import YAML  # as DVC writes params.yaml: comments stay
from ruamel.yaml.error import YAMLError

import stage
from landmarks.common.errors import InputError
from landmarks.common.files import whole

BACK = (
    "Back: git checkout params.yaml; after a run also git checkout dvc.lock metrics docs, then dvc checkout, which brings the "
    "results that were made here before, or dvc repro"
)


def main(
    profile: Annotated[Path, "YAML of the values that differ"],
    params: Annotated[Path, "params.yaml to change"] = stage.PARAMS,
) -> None:
    """Write the values of a profile into params.yaml."""
    yaml = YAML()
    yaml.default_flow_style = False
    values, current = _read(yaml, profile), _read(yaml, params)
    changed = list(merge(current, values, ""))
    with whole(params) as partial:
        yaml.dump(current, partial)
    for name, before, after in changed:
        print(f"{name}: {before} -> {after}")
    about = itertools.takewhile(lambda line: line.startswith("#"), profile.read_text(encoding="utf-8").splitlines())
    print(*("", *(line.removeprefix("#").strip() for line in about), BACK), sep="\n")


def _read(yaml: YAML, path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.yaml")))
        raise InputError(f"{path}: no such file; there are: {known}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None


def merge(current: Any, values: Any, prefix: str) -> Any:
    """Change ``current`` in place. Yields name, value before, value after. Raises ``InputError`` at an unknown name."""
    for name, value in (values or {}).items():
        if name not in current:
            raise InputError(f"{prefix}{name}: no such parameter in params.yaml; remove or rename it in the profile")
        if isinstance(current[name], dict) != isinstance(value, dict):
            raise InputError(
                f"{prefix}{name}: {value!r} in the profile, {current[name]!r} in params.yaml; one is a block"
            )
        if isinstance(current[name], dict):
            yield from merge(current[name], value, f"{prefix}{name}.")
        elif current[name] != value:
            before, current[name] = current[name], value
            yield f"{prefix}{name}", before, value


if __name__ == "__main__":
    stage.run(main)
