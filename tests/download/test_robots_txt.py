"""A robots.txt is read as RFC 9309 says, whatever bytes it is."""

import re
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import fuzzed

from landmarks.download import politeness


def allows(content: bytes, url: str) -> bool:
    host: politeness.Host[int] = politeness.Host("x", slots=1, full_slots=1, rate=0)
    host.set_robots("http://x/robots.txt", 200, content)
    return bool(host.rules["http://x/robots.txt"].can_fetch(url, politeness.ROBOT))


class Group(NamedTuple):
    """Agents, and their rules: directive and pattern."""

    agents: list[str]
    rules: list[tuple[str, str]]


OURS = ("landmarks", "Landmarks", "landmarks/0.1", "LANDMARKS/2 (any)", "landmarks # us")
AGENTS = st.sampled_from([*OURS, "*", "otherbot", "mark", "land", "landmarks-image", "otherbot/landmarks"])
PATTERNS = (
    st.just("") | st.text("ab/*$.?=", max_size=5).map("/".__add__) | st.sampled_from(["*", "*.jpg$", "/*/a", "/a$b"])
)
GROUPS = st.lists(
    st.builds(
        Group,
        st.lists(AGENTS, min_size=1, max_size=2),
        st.lists(st.tuples(st.sampled_from(["Allow", "Disallow"]), PATTERNS), min_size=1, max_size=4),
    ),
    max_size=4,
)
NOISE = ["", "# a comment", "Sitemap: http://x/sitemap.xml", "nonsense", "\x00\x01"]
PATHS = st.text("ab/.?=", max_size=6).map("http://x/".__add__) | st.sampled_from(
    ["http://x/a.jpg", "http://x", "http://x/ab/a"]
)


def expected(groups: list[Group], url: str) -> bool:
    """RFC 9309, section 2.2: the groups of our name together, else those of all; the longest match, at a tie Allow."""
    named = [group for group in groups if any(agent in OURS for agent in group.agents)]
    chosen = named or [group for group in groups if "*" in group.agents]
    path = url.removeprefix("http://x") or "/"
    best = max(
        (
            (len(pattern), directive == "Allow")
            for group in chosen
            for directive, pattern in group.rules
            if pattern and matches(pattern, path)
        ),
        default=(0, True),
    )
    return best[1]


def matches(pattern: str, path: str) -> bool:
    ends = pattern.endswith("$")
    text = ".*".join(re.escape(part) for part in pattern.removesuffix("$").split("*"))
    return bool(re.match(text + ("$" if ends else ""), path, re.DOTALL))


@st.composite
def written(draw: st.DrawFn, groups: list[Group]) -> bytes:
    """The groups as a file: with or without a byte order mark, under any line ends, comments and unknown lines between."""
    lines = draw(st.lists(st.sampled_from(NOISE), max_size=2))
    for group in groups:
        for name, value in [*(("User-agent", agent) for agent in group.agents), *group.rules]:
            lines.append(
                f"{draw(st.sampled_from([name, name.lower(), name.upper()]))}{draw(st.sampled_from([':', ' : ']))}{value}"
            )
            lines += draw(st.lists(st.sampled_from(NOISE), max_size=1))
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines)
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))


@given(groups=GROUPS, url=PATHS, data=st.data())
@settings(max_examples=fuzzed())
def test_the_longest_match_in_the_groups_of_our_name_decides(
    groups: list[Group], url: str, data: st.DataObject
) -> None:
    assert allows(data.draw(written(groups)), url) == expected(groups, url)


LINES = st.text("User-agent:*landmks/0.1 \n\r\ufeffDisallow#Crawl-delay: inf9", max_size=80).map(str.encode)


@given(content=st.binary(max_size=80) | LINES, url=PATHS | st.text(max_size=20))
@settings(max_examples=fuzzed())
def test_no_bytes_break_the_rules(content: bytes, url: str) -> None:
    assert allows(content, url) in (True, False)


@pytest.mark.parametrize(
    "line",
    [
        b"a" * 3_000_000,
        b"Disallow: /" + b"*a" * 200_000,
        b"\n" * 3_000_000,
        b"User-agent: *\nDisallow: " + b"/a*" * 3000 + b"b$",
    ],
)
def test_a_huge_one_costs_no_time(line: bytes) -> None:
    assert allows(line, "http://x/" + "a/" * 2000) in (True, False)
