"""Reads the next tokens off lines built like the current one, with their varying words replaced.

`self.width = width` above and `self.height` at the cursor give ` = height`: the words in which two
lines differ are a substitution, and the rest of the older line, substituted, is a hit like any
other. The lines before both are compared too, so a changed name in them carries over.
"""

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass

from isthmus.adapters.providers._incontext_evidence import Corpus, Hit

_ABOVE_CHARS = 12_000
_BELOW_CHARS = 4_000
_CANDIDATES = 48
_HITS = 16
_LINE_CHARS = 240
_NEAR_ROWS = 40.0
_PIECE = re.compile(r"[ \t]*(?:\w+|[^\w\s])")
_LEAST_AFFIX = 2
_WORDLESS = {ord(char): None for char in string.ascii_letters + string.digits + "_"}


@dataclass(frozen=True, slots=True)
class _Row:
    """A line as pieces (each with the white space before it), and the words they hold."""

    pieces: tuple[str, ...]
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Match:
    """A line whose beginning is built like the current one.

    `pieces` is what follows there, `swaps` the words that differ so far, `begun` the word that the
    cursor stands in, `same` how many tokens are equal.
    """

    pieces: tuple[str, ...]
    swaps: dict[str, str]
    begun: str
    same: int

    def rest(self, known: dict[str, str]) -> list[str] | None:
        """What to insert; None when nothing in it is replaced, for then it is no pattern."""
        swaps, pieces, lead = known | self.swaps, self.pieces, list[str]()
        if self.begun:
            their = pieces[0].strip()
            word, pieces = _swapped(their, swaps), pieces[1:]
            if word.startswith(self.begun) and word != self.begun:
                lead = [word[len(self.begun) :]]
            elif word != self.begun:
                if not (their.isidentifier() and self.begun.isidentifier()):
                    return None
                swaps |= _swap(their, self.begun)
        swapped = [_swapped(piece, swaps) for piece in pieces]
        return lead + swapped if tuple(swapped) != pieces else None


def find_patterns(corpus: Corpus) -> list[Hit]:
    """Hits from lines of the file that are built like the current one, the nearest first."""
    above = corpus.above[-_ABOVE_CHARS:].split("\n")
    line = above.pop()
    current = _row(line)
    if not current.tokens or len(line) > _LINE_CHARS:
        return []
    before = _row(above[-1]) if above and len(above[-1]) <= _LINE_CHARS else _NO_ROW
    fragment = line[-1].isalnum() or line[-1] == "_"
    below = corpus.below[:_BELOW_CHARS].split("\n")[1:]
    hits: list[Hit] = []
    for distance, row, earlier in _candidates(above, below, line.translate(_WORDLESS)):
        match = _match(_row(row), current, fragment=fragment)
        if match is None:
            continue
        steps = match.rest(_aligned(_row(earlier).tokens, before.tokens) or {})
        if steps:
            steps[0] = steps[0].lstrip() if line[-1].isspace() else steps[0]
            weight = (1.0 + match.same) / (1.0 + distance / _NEAR_ROWS)
            hits.append(Hit((*steps, "\n"), match.same, weight))
        if len(hits) >= _HITS:
            break
    return hits


def _candidates(above: list[str], below: list[str], start: str) -> Iterator[tuple[int, str, str]]:
    """(rows away, line, the line before it) of lines that begin like `start`, words aside."""
    left = _CANDIDATES
    for rows, order in ((above, -1), (below, 1)):
        bare = "\n".join(rows).translate(_WORDLESS).split("\n")
        for distance, number in enumerate(range(len(rows))[::order]):
            if bare[number].startswith(start) and 0 < len(rows[number]) <= _LINE_CHARS:
                yield distance, rows[number], rows[number - 1][:_LINE_CHARS] if number else ""
                left -= 1
                if not left:
                    return


def _row(line: str) -> _Row:
    body = line.lstrip()
    pieces = tuple(_PIECE.findall(body, 0, _LINE_CHARS))
    return _Row(pieces, tuple(piece.strip() for piece in pieces))


_NO_ROW = _Row((), ())


def _match(row: _Row, current: _Row, *, fragment: bool) -> "_Match | None":
    whole = len(current.tokens) - 1 if fragment else len(current.tokens)
    swaps = _aligned(row.tokens[:whole], current.tokens[:whole])
    if swaps is None or len(row.tokens) <= whole:
        return None
    same = sum(map(str.__eq__, row.tokens[:whole], current.tokens[:whole]))
    begun = current.tokens[-1] if fragment else ""
    # A word in the making may yet become the other line's word, or stand for it.
    if (same + bool(begun)) * 2 < len(current.tokens):
        return None
    return _Match(row.pieces[whole:], swaps, begun, same)


def _aligned(theirs: tuple[str, ...], ours: tuple[str, ...]) -> dict[str, str] | None:
    """The words to replace so that `theirs` reads like `ours`; None when they are built unlike."""
    if len(theirs) != len(ours):
        return None
    swaps: dict[str, str] = {}
    for their, our in zip(theirs, ours, strict=True):
        if their == our:
            continue
        if not (their.isidentifier() and our.isidentifier()) or swaps.get(their, our) != our:
            return None
        swaps |= _swap(their, our)
    return swaps


def _swap(their: str, our: str) -> dict[str, str]:
    """The word, and the part of it between what both words begin and end with, at underscores."""
    swaps = {their: our}
    a, b = their.split("_"), our.split("_")
    while len(a) > 1 and len(b) > 1 and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while len(a) > 1 and len(b) > 1 and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    core, new = "_".join(a), "_".join(b)
    if core != their and len(core) >= _LEAST_AFFIX and new:
        swaps[core] = new
    return swaps


def _swapped(piece: str, swaps: dict[str, str]) -> str:
    """A piece with its word replaced, also where the word only wears it: `_name`, `name_id`."""
    word = piece.lstrip()
    lead = piece[: len(piece) - len(word)]
    if word in swaps:
        return lead + swaps[word]
    for their, our in swaps.items():
        if len(their) > _LEAST_AFFIX and f"_{their}_" in f"_{word}_":
            return lead + f"_{word}_".replace(f"_{their}_", f"_{our}_")[1:-1]
    return piece
