"""One HTML file that needs no other: pictures inside it, everything from data or parameters escaped."""

import base64
import functools
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from numpy.typing import NDArray
from PIL import Image

from landmarks.common.errors import InputError
from landmarks.common.files import whole
from landmarks.dataset.places import Names
from landmarks.reporting.labels import shortened

TEMPLATES = Path(__file__).parent / "templates"
QUALITY = 80  # of the WebP pictures
GROUPED = "\u202f"  # a narrow space between thousands
REASONS = {"gone": "gone (404, 410)", "html": "a web page", "truncated": "half a photo"}  # for missing photos


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


def environment(autoescape: bool) -> jinja2.Environment:
    """The templates of this package; a value that one of them lacks is an error, not a blank."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, autoescape=autoescape,  # noqa: S701 - Markdown has none
    )  # fmt: skip


def write(path: Path, facts: Mapping[str, Any]) -> None:
    """Fill the template report.html with ``facts`` and write it, atomically.

    Raises ``InputError`` if a fact that the page shows is missing.
    """
    env = environment(autoescape=True)
    env.filters.update(number=number, size=size, probability=_probability, spans=_spans, reason=_reason)
    env.filters.update(called=_called(facts["names"]))
    try:
        page = env.get_template("report.html").render(facts)
    except jinja2.UndefinedError as error:
        raise InputError(f"report.html: a result is missing: {error.message}; run: dvc repro evaluate") from None
    with whole(path) as file:
        file.write_text(page, encoding="utf-8")


def _webp(picture: Image.Image) -> Picture:
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=QUALITY)
    return Picture(_address("image/webp", file.getvalue()), *picture.size)


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _called(names: Names) -> Callable[..., str]:
    """What gives the name of a landmark, of at most ``most`` letters; its id if it has none."""
    shorter = functools.cache(lambda most: shortened(names.values(), most) if most else {})

    def called(landmark: str, most: int = 0) -> str:
        return str(shorter(most).get(name := names[landmark], name))

    return called


def _spans(numbers: list[int]) -> str:
    """``4, 5`` or ``15–20``: how figures are cited."""
    consecutive = list(range(numbers[0], numbers[-1] + 1)) == numbers
    return f"{numbers[0]}–{numbers[-1]}" if consecutive and len(numbers) > 2 else ", ".join(map(str, numbers))


def _reason(status: str) -> str:
    return REASONS.get(status, status)


def _probability(value: float | None) -> str:
    if value is None:
        return ""
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")
