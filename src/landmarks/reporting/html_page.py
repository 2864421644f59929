"""One HTML file that needs nothing else: words in a language, pictures inside it, all that is not ours escaped."""

from __future__ import annotations

import base64
import io
import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import yaml
from markupsafe import Markup, escape
from numpy.typing import NDArray
from PIL import Image

from landmarks.common.errors import InputError
from landmarks.common.files import whole

QUALITY = 80  # of the WebP pictures
GROUPED = "\u202f"  # a narrow space between thousands: read alike in English and Spanish


class Picture(NamedTuple):
    """A picture inside the page: a ``data:`` address, its width and height in pixels (0: as it comes)."""

    source: str
    width: int
    height: int


def photo(pixels: NDArray[Any]) -> Picture:
    """A photo, uint8 BGR (height, width, 3), as WebP."""
    return _webp(Image.fromarray(pixels[..., ::-1]))


def plot(path: Path) -> Picture:
    """A plot of another stage, read from its PNG file, as WebP. Raises ``InputError`` if it is missing or is none."""
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            return _webp(opened.convert("RGB"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: dvc repro") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: not a PNG picture ({error}); run: dvc repro --force") from None


def chart(svg: bytes) -> Picture:
    """A chart: an SVG document."""
    return Picture(_address("image/svg+xml", svg), 0, 0)


def _webp(picture: Image.Image) -> Picture:
    made = io.BytesIO()
    picture.save(made, "WEBP", quality=QUALITY)
    return Picture(_address("image/webp", made.getvalue()), *picture.size)


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


class _Numbers(string.Formatter):
    """``str.format`` whose whole numbers are grouped and whose nulls are dashes."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return number(value) if value is None or not format_spec else str(super().format_field(value, format_spec))


def number(value: Any) -> str:
    """A number to read: thousands grouped, three decimals, a dash for none; anything else as it is."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}".replace(",", GROUPED if abs(value) > 9999 else "")
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def size(count: int) -> str:
    """A number of bytes to read: kB and MB of 1000."""
    for unit, factor in (("MB", 1_000_000), ("kB", 1000)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def _spans(numbers: list[int]) -> str:
    """``4, 5`` or ``15–20``: how figures are cited."""
    whole_range = list(range(numbers[0], numbers[-1] + 1)) == numbers
    return f"{numbers[0]}–{numbers[-1]}" if whole_range and len(numbers) > 2 else ", ".join(map(str, numbers))


def _probability(value: float | None) -> str:
    if value is None:
        return ""
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _marked(text: str) -> Markup:
    """Escaped, and what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped first


class Words:
    """The words of one language: ``words("text.data")``, with what stands in braces looked up in ``facts``."""

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        self.facts = facts
        self.texts = read_yaml(path)

    def known(self, key: str) -> bool:
        """Is there a text ``key``?"""
        section, _, name = key.partition(".")
        return name in {str(own) for own in self.texts.get(section, {})}

    def __call__(self, key: str, **more: Any) -> str:
        """The text ``key``. Raises ``InputError`` if there is none or what it speaks of is not known."""
        section, _, name = key.partition(".")
        if not self.known(key):
            raise InputError(f"{self.path}: no text {key!r}; write it")
        text = {str(own): text for own, text in self.texts[section].items()}[name]
        try:
            return _Numbers().vformat(text, (), {**self.facts, **more})
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.path}: the text {key!r} speaks of what is not known: {error}") from None

    def named(self, kind: str, name: str) -> str:
        """The text ``kind.name``, or the name where there is none: models and causes of failure may be new."""
        return self(f"{kind}.{name}") if self.known(f"{kind}.{name}") else name


def read_yaml(path: Path) -> Any:
    """A YAML file. Raises ``InputError`` if it is missing, or is no mapping."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: git checkout {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: not a mapping of names to values; run: git checkout {path}")
    return found


def write(path: Path, folder: Path, words: Words, facts: Mapping[str, Any]) -> None:
    """Fill ``folder``'s report.html with ``facts`` and ``words``, whole or not at all.

    Raises ``InputError`` if a fact that the page shows is missing.
    """
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(number=number, size=size, probability=_probability, marked=_marked, spans=_spans)
    try:
        page = env.get_template("report.html").render(facts, words=words)
    except jinja2.UndefinedError as error:
        raise InputError(
            f"{folder}/report.html: a result is missing: {error.message}; run: dvc repro evaluate"
        ) from None
    except jinja2.TemplateNotFound as error:
        raise InputError(f"{folder}/{error.name}: no such file; run: git checkout {folder}") from None
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"{folder}/{error.name}: line {error.lineno}: {error.message}") from None
    with whole(path) as partial:
        partial.write_text(page, encoding="utf-8")
