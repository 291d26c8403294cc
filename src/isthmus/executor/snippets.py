"""Words the hits of a search: a head line, then each place with the lines around it. Pure.

Source: instance contract, section 6.4 (grep).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

HITS_A_FILE = 5
SNIPPETS = 100
SNIPPET_CHARS = 5000
AROUND = 1
"""Lines shown before and after a hit."""
NOTHING = "No matches found."


@dataclass(frozen=True, slots=True)
class Snippet:
    """Lines `start` to `end` of a file (1 is the first), and how many of them are hits."""

    path: str
    start: int
    end: int
    hits: int


def shown(hits: Mapping[str, Sequence[int]], lines_of: Callable[[str], Sequence[str]]) -> str:
    """The answer to a search. `hits` are line numbers by path; more than five a file are cut.

    Places with more hits come first, then in the order of paths.
    """
    places = [place for path in sorted(hits) for place in _places(path, hits[path][:HITS_A_FILE])]
    if not places:
        return NOTHING
    kept = sorted(places, key=lambda place: -place.hits)[:SNIPPETS]
    count = sum(place.hits for place in places)
    cut = f" (showing first {len(kept)})" if len(kept) < len(places) else ""
    files = len({place.path for place in places})
    blocks = [_block(place, lines_of(place.path)) for place in kept]
    return "\n\n".join([f"Found {count} match(es) across {files} file(s){cut}", *blocks])


def _places(path: str, numbers: Sequence[int]) -> list[Snippet]:
    """Hits whose surroundings touch share a place."""
    places: list[Snippet] = []
    for number in sorted(numbers):
        start, end = max(1, number - AROUND), number + AROUND
        if places and start <= places[-1].end + 1:
            before = places.pop()
            places.append(Snippet(path, before.start, end, before.hits + 1))
        else:
            places.append(Snippet(path, start, end, 1))
    return places


def _block(place: Snippet, lines: Sequence[str]) -> str:
    end = min(place.end, max(len(lines), place.start))
    text = "\n".join(line.rstrip("\r") for line in lines[place.start - 1 : end])
    return f"{place.path}:{place.start}_{end}\n{text[:SNIPPET_CHARS]}"
