"""Labels that fit where they stand."""

from collections.abc import Iterable
from itertools import chain, count


def shortened(names: Iterable[str], most: int) -> dict[str, str]:
    """A label of at most ``most`` letters, at least 5, for each name: cut with "…", two names never alike.

    Where the beginnings of two are the same, the later ones keep as much of their end as tells them apart, or get a number.
    """
    wanted = dict.fromkeys(names)
    labels = {name: name for name in wanted if len(name) <= most}
    taken = set(labels)
    for name in wanted:
        if name not in labels:
            ends = chain([""], (name[-size:] for size in range(1, most - 1)), map(str, count(2)))
            tried = (f"{name[: max(most - 1 - len(end), 0)]}…{end}" for end in ends)
            labels[name] = next(label for label in tried if label not in taken)
            taken.add(labels[name])
    return {name: labels[name] for name in wanted}
