"""What the landmarks of the synthetic demo dataset are called: names that say that they are invented."""

import re

from landmarks.dataset.places import Place

ADDRESS = re.compile(r"demo://(?P<seed>\d+)/[a-z]+/(?P<landmark>\d+)/")
KINDS = ("Hall", "House", "Palace", "Exchange", "Library", "Court", "Museum")
STARTS = (
    "Bel",
    "Cor",
    "Dal",
    "Er",
    "Fal",
    "Gor",
    "Hes",
    "Il",
    "Jor",
    "Kel",
    "Lum",
    "Mar",
    "Nor",
    "Or",
    "Pel",
    "Quil",
    "Vel",
)
ENDS = ("mora", "dane", "vik", "anta", "orra", "usk", "ello", "inth", "ava", "olm", "eska", "una")


def of(url: str, landmark: str) -> Place:
    """The place that an address of the dataset shows; one of another dataset has its id for a name.

    The first 1,428 landmarks of a world have names of their own: the numbers of parts have no common divisor.
    """
    found = ADDRESS.match(url)
    if not found:
        return Place(id=landmark, name=landmark)
    seed, number = int(found["seed"]), int(found["landmark"])
    start, end = STARTS[(number + seed) % len(STARTS)], ENDS[(number + seed) % len(ENDS)]
    drawn = f"a program draws it, landmark {number} of world {seed}"
    return Place(
        id=landmark, name=f"{start}{end} {KINDS[number % len(KINDS)]} (invented)",
        description=f"An invented building that stands nowhere: {drawn}.",
    )  # fmt: skip
