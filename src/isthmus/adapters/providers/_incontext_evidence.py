"""Finds earlier places that read like the text before the cursor, and grows what followed there.

The last tokens before the cursor, from many down to one, are looked for in the file above, in the
file below and in the context; each place found is a hit, and what followed there is evidence. Hits
vote token by token, heavier when they share more and stand nearer; growth stops where agreement
ends. Only C-speed string searches with a linear worst case touch whole texts.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_WEIGHTS = {
    24: 256.0,
    12: 128.0,
    8: 64.0,
    6: 32.0,
    5: 20.0,
    4: 12.0,
    3: 6.0,
    2: 2.5,
    1: 1.0,
}
"""Shared tokens -> the weight of a hit, the longest first."""
_TAIL_CHARS = 400
_WINDOW_CHARS = 240
_HITS_ABOVE = 16
_HITS_ELSEWHERE = 8
_HITS = 32
_HITS_ENOUGH = 16
_STEPS = 64
_FAR_CHARS = 10_000.0
_FOREIGN_CHARS = 10_000
_TOKEN = re.compile(r"\w+|[^\w\s]")
_STEP = re.compile(r"[ \t]*(?:\w+|[^\w\s])|[ \t]*\r?\n[ \t]*")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Where evidence may come from. `above` ends at the cursor, `below` begins after it."""

    above: str
    below: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A place that ends like the text above the cursor, and the steps that followed there."""

    steps: tuple[str, ...]
    level: int
    weight: float


@dataclass(frozen=True, slots=True)
class Growth:
    """What the hits agree on. `ended` is true when it reached a line end by agreement."""

    text: str
    ended: bool


def find_hits(corpus: Corpus) -> list[Hit]:
    """At most 32 hits, those that share most first and, among equals, the nearest first."""
    found: list[Hit] = []
    seen: set[tuple[int, int]] = set()
    backwards = corpus.above[::-1]
    texts = (corpus.above, corpus.below, *corpus.others)
    for level, key in _keys(corpus.above):
        if len(found) >= _HITS_ENOUGH:
            break
        for source, end, distance in _places(texts, backwards, key):
            if (source, end) in seen:
                continue
            seen.add((source, end))
            weight = _WEIGHTS[level] / (1.0 + distance / _FAR_CHARS)
            found.append(Hit(_steps(texts[source], end), level, weight))
            if len(found) >= _HITS:
                return found
    return found


def grow(hits: list[Hit], max_lines: int) -> Growth:
    """What the hits agree on, token by token, over at most `max_lines` lines.

    A line end that is the last one allowed is not part of the text. A later line that support does
    not carry to its end is left out whole.
    """
    alive = hits
    out: list[str] = []
    complete = -1
    lines = 0
    for step in range(_STEPS):
        best, share, alive = _vote(alive, step)
        if not alive or not supported(alive[0].level + step, len(alive), share, lines):
            break
        if "\n" in best:
            complete = len(out)
            lines += 1
            if lines >= max_lines:
                break
        out.append(best)
    if complete >= 0:
        return Growth("".join(out[:complete]), ended=True)
    return Growth("".join(out), ended=False)


def supported(level: int, support: int, share: float, lines: int) -> bool:
    """Whether evidence carries the next token: the threshold under which nothing is said.

    `share` is the part of the votes that the token got, `support` how many hits gave them, `level`
    how many tokens the best of them shares. Measured on the standard library's sources, a token is
    right about as often as its share says once two hits agree; one hit alone is that good only when
    it shares six tokens or more. A line after the first is held to more.
    """
    if lines:
        return share >= 0.9 and level >= 12 and (support >= 2 or level >= 40)
    if support >= 2:
        return share >= 0.6
    return level >= 6 and share >= 0.75


def _vote(alive: Iterable[Hit], step: int) -> tuple[str, float, list[Hit]]:
    votes: dict[str, float] = {}
    kept: dict[str, list[Hit]] = {}
    for hit in alive:
        if step < len(hit.steps):
            token = hit.steps[step]
            votes[token] = votes.get(token, 0.0) + hit.weight
            kept.setdefault(token, []).append(hit)
    if not votes:
        return "", 0.0, []
    best = max(votes, key=votes.__getitem__)
    return best, votes[best] / sum(votes.values()), kept[best]


def _keys(above: str) -> Iterator[tuple[int, str]]:
    tail = above[-_TAIL_CHARS:]
    starts = [match.start() for match in _TOKEN.finditer(tail)]
    for level in _WEIGHTS:
        if level <= len(starts):
            yield level, tail[starts[-level] :]


def _places(texts: tuple[str, ...], backwards: str, key: str) -> Iterator[tuple[int, int, int]]:
    """(text, where the key ends in it, distance from the cursor), nearest first."""
    word = _joins(key[0])
    reverse = key[::-1]
    at = 0
    for _ in range(_HITS_ABOVE):
        at = backwards.find(reverse, at + 1)
        if at < 0:
            break
        before = at + len(key)
        if not (word and before < len(backwards) and _joins(backwards[before])):
            yield 0, len(backwards) - at, at
    for source in range(1, len(texts)):
        at = -1
        for _ in range(_HITS_ELSEWHERE):
            at = texts[source].find(key, at + 1)
            if at < 0:
                break
            if not (word and at and _joins(texts[source][at - 1])):
                yield source, at + len(key), at if source == 1 else _FOREIGN_CHARS


def _joins(char: str) -> bool:
    return char.isalnum() or char == "_"


def _steps(text: str, start: int) -> tuple[str, ...]:
    return tuple(_STEP.findall(text, start, start + _WINDOW_CHARS)[:_STEPS])
