"""Near-duplicates, measured: which copies of a photo the hash finds and how often it confuses two photos; its search, by number.

python bench/duplicates.py copies [PHOTOS]    share of copies found, by what was done to them, and pairs of other photos, by distance
python bench/duplicates.py search             seconds and comparisons for 2,000 to 200,000 random hashes, one in ten a copy

PHOTOS: a CSV of file (beside it), landmark_id; a folder with a subfolder a landmark; else the synthetic demo dataset, after `make repro`,
whose anonymous photos are compared here.
"""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import material
import numpy as np
import typer
from numpy.typing import NDArray

from landmarks.common import parallel
from landmarks.dataset import near_duplicates
from landmarks.images import decoding
from landmarks.images.perceptual_hash import perceptual_hash

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Picture = decoding.Picture
Distances = Annotated[list[int] | None, typer.Option("--distance", "-d", help="Bits; may be repeated")]
DISTANCES = (31, 40, 48, 56)
LONG_SIDE = 1024


def compressed(picture: Picture, quality: int) -> Picture:
    """As a JPEG of that quality shows it."""
    return decoding.decode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


def scaled(picture: Picture, factor: float) -> Picture:
    """Of so many times the width."""
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)


def toned(picture: Picture, gamma: float) -> Picture:
    """Brighter below 1, darker above."""
    return (255 * (picture / 255) ** gamma).astype(np.uint8)


def cut(picture: Picture, left: float, top: float, right: float, bottom: float) -> Picture:
    """Without these shares of width and height."""
    height, width = picture.shape[:2]
    return picture[int(height * top) : height - int(height * bottom), int(width * left) : width - int(width * right)]


def turned(picture: Picture, degrees: float) -> Picture:
    """Turned within its frame, the corners black."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height)), np.uint8)


def framed(picture: Picture, share: float) -> Picture:
    """With a white border."""
    wide = int(max(picture.shape[:2]) * share)
    return np.asarray(cv2.copyMakeBorder(picture, *[wide] * 4, cv2.BORDER_CONSTANT, value=(255, 255, 255)), np.uint8)


def covered(picture: Picture, share: float) -> Picture:
    """A mosaic over a corner, as the gate leaves of a face."""
    changed, side = picture.copy(), int(min(picture.shape[:2]) * share)
    squares = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    changed[-side:, :side] = cv2.resize(squares, (side, side), interpolation=cv2.INTER_NEAREST)
    return changed


def captioned(picture: Picture) -> Picture:
    """A white strip over the lowest twentieth."""
    changed = picture.copy()
    changed[-(len(picture) // 20) :] = 255
    return changed


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "compressed, quality 30": lambda picture: compressed(picture, 30),
    "half as wide, quality 60": lambda picture: compressed(scaled(picture, 0.5), 60),
    "a quarter as wide": lambda picture: compressed(scaled(picture, 0.25), 75),
    "brighter, gamma 0.7": lambda picture: toned(picture, 0.7),
    "darker, gamma 1.4": lambda picture: toned(picture, 1.4),
    "grey": lambda picture: cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(
        np.uint8
    ),
    "mirrored, quality 60": lambda picture: compressed(np.ascontiguousarray(picture[:, ::-1]), 60),
    "a caption over 1/20": captioned,
    "a mosaic over 1/5 of the short side": lambda picture: covered(picture, 0.2),
    "cut by 2 % on each side": lambda picture: cut(picture, 0.02, 0.02, 0.02, 0.02),
    "cut by 5 % on each side": lambda picture: cut(picture, 0.05, 0.05, 0.05, 0.05),
    "cut by 10 % on one side": lambda picture: cut(picture, 0.1, 0, 0, 0),
    "turned by 1 degree": lambda picture: turned(picture, 1),
    "turned by 3 degrees": lambda picture: turned(picture, 3),
    "framed, 2 %": lambda picture: framed(picture, 0.02),
    "framed, 5 %": lambda picture: framed(picture, 0.05),
}


def hashed(path: Path) -> list[str]:
    """The hash of a photo and those of its copies."""
    picture = decoding.read(path, LONG_SIDE)
    return [perceptual_hash(made) for made in (picture, *(copied(picture) for copied in COPIES.values()))]


def apart(one: near_duplicates.Hashes, other: near_duplicates.Hashes) -> NDArray[np.int64]:
    """Bits that differ, of the photos as they are or with one of them mirrored: (n,)."""
    both = (
        np.bitwise_count(one ^ other ^ mirror).sum(axis=-1, dtype=np.int64) for mirror in (0, near_duplicates.MIRROR)
    )
    return np.minimum(*both)


@app.command()
def copies(
    source: Annotated[
        Path | None, typer.Argument(help="CSV, folder, or nothing for the synthetic demo dataset")
    ] = None,
    distance: Distances = None,
    per_class: Annotated[int, typer.Option(min=1, help="Photos a landmark, the first by id")] = 200,
) -> None:
    """Print the share of copies found by kind, and the pairs of photos that are none, by distance."""
    paths, landmarks = material.listed(source, per_class)
    distances = distance or DISTANCES
    rows = list(parallel.sound(parallel.each(hashed, paths, "copies")))
    columns = [{str(place): text for place, text in enumerate(column)} for column in zip(*rows, strict=True)]
    parsed = [near_duplicates.parsed(Path("copies"), column) for column in columns]
    print(f"| {len(paths)} photos | {' | '.join(f'{bits} bits' for bits in distances)} |")
    print(f"|---|{'---|' * len(distances)}")
    for kind, column in zip(COPIES, parsed[1:], strict=True):
        print(f"| {kind} | {' | '.join(f'{(apart(parsed[0], column) <= bits).mean():.3f}' for bits in distances)} |")
    between = np.concatenate([apart(parsed[0][i], parsed[0][i + 1 :]) for i in range(len(paths) - 1)])
    same = np.concatenate([landmarks[i] == landmarks[i + 1 :] for i in range(len(paths) - 1)])
    for name, which in (("of one landmark", same), ("of two landmarks", ~same)):
        counted = " | ".join(str(int((between[which] <= bits).sum())) for bits in distances)
        print(f"| of {which.sum():,} pairs {name}, taken for copies | {counted} |")
        print(f"the nearest {name}: {np.sort(between[which])[:12].tolist()} bits")


@app.command()
def search(
    distance: Distances = None,
    photos: Annotated[list[int] | None, typer.Option("--photos", "-n", help="Hashes; may be repeated")] = None,
) -> None:
    """Print how the search grows: seconds of CPU, and what it compares of all pairs, mirrored hashes included."""
    print("| hashes | distance | s of CPU | groups | keys looked up a hash | compared of all pairs | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for count in photos or (2_000, 20_000, 200_000):
        rng = np.random.default_rng(0)
        hashes = rng.integers(0, 256, (count, 32), np.uint8)
        flipped = np.packbits(rng.random((count // 10, 256)) < 0.06, axis=1)
        hashes[: count // 10] = hashes[count // 10 : count // 10 * 2] ^ flipped
        for bits in distance or DISTANCES[:2]:
            started = time.process_time()
            groups = len(set(near_duplicates.groups(hashes, bits).tolist()))
            seconds = time.process_time() - started
            plan = near_duplicates.Plan.cheapest(count, 256, bits)
            looked_up, peak = plan.lookups(count) // count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
            print(
                f"| {count:,} | {bits} | {seconds:.1f} | {groups:,} | {looked_up} | {looked_up / 2**plan.width:.4f} | {peak} |"
            )


if __name__ == "__main__":
    app()
