"""Which texts look like secrets, as data of `library/secrets.yml`. A match becomes `[REDACTED]`.

The server reads `secrets.json`, which is made of it: YAML would take longer than all the rest.

Texts are searched as UTF-8. A clean one costs one pass over its bytes, for all rules at once.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from math import log2
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from isthmus.redaction.automaton import BadPattern, PatternSet, pattern, pattern_set

MARK: Final = "[REDACTED]"
ID: Final = re.compile(r"[0-9a-f.:\[\]-]*+|[0-9A-HJKMNP-TV-Z]{26}")
"""Hex ids, UUIDs, addresses and ULIDs: what is wholly one of them matches no rule.

Such texts are new in each request, so this is asked before anything that costs more.
"""
SHIPPED: Final = (Path(__file__).resolve().parents[1] / "library" / "secrets.json").read_bytes()
"""Read with the module and parsed when first used, which may be where no file can be read."""
LONGEST_BYTES = 2_048
"""A secret that something must follow is no longer: what is longer was never a password."""
SLICE_BYTES = LONGEST_BYTES + 512
_WORD = r"\b|_|\\[nrtbfv]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2}"
"""Where a key may begin: not inside a word, but behind what an escape stands for."""


class Rule(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One shape of secret. Patterns are RE2's; `{name}` in one stands for a part of the file.

    `secret` is what goes. Before it stands `lead`, which stays; without one, the secret begins with
    one of `needles`, and continues no word. `follow` is one character that must come behind it, if
    anything does; with `closed`, it must in any case. `run` is one character of a secret: while a
    text goes on so, a stream is held back. `hold`, `rest` and `inside` say the same for a secret
    that is no mere run: what may still become one, how it ends, and what is inside it.
    `entropy` is the least, in bits a byte, of a secret with a digit and of one without. `allow` are
    patterns of texts that are none.
    """

    name: str
    secret: str
    needles: tuple[str, ...] = ()
    lead: str = ""
    follow: str = ""
    closed: bool = False
    run: str = ""
    hold: str = ""
    rest: str = ""
    inside: str = ""
    entropy: tuple[float, float] = (0.0, 0.0)
    allow: tuple[str, ...] = ()


class RuleFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of rules. `allow` holds for every rule."""

    rules: tuple[Rule, ...]
    parts: Mapping[str, str] = {}
    allow: tuple[str, ...] = ()


class Found(NamedTuple):
    """A secret in a text: the bytes from `start` to `end`."""

    start: int
    end: int
    shape: "Shape"


Mark = Callable[[Found, bytes], bytes]
"""What goes in the place of a secret, which it is given; it may raise."""


class Shape:
    """A rule, ready to search. Most never have to: a pattern is compiled when first used."""

    def __init__(self, rule: Rule, parts: Mapping[str, str], allow: Sequence[str] = ()) -> None:
        def filled(text: str) -> str:
            return _PART.sub(lambda part: parts.get(part[1], part[0]), text) if text else text

        self.name = rule.name
        self._entropy = rule.entropy
        self._bounded = bool(rule.follow)
        lead = filled(rule.lead) or _WORD
        end = "" if rule.closed else r"|\z"
        follow = f"(?:{filled(rule.follow)}{end})" if rule.follow else ""
        run = filled(rule.run)
        self._caught = f"(?:{lead})({filled(rule.secret)}){follow}"
        self.full = f"(?:{lead})(?:{filled(rule.secret)}){follow}"
        if rule.needles:
            whole = filled(rule.hold) or "|".join(f"{_literal(n)}{run}*" for n in rule.needles)
            held = "|".join((whole, *map(_begun, rule.needles)))
        else:
            held = filled(rule.hold) or f"{run}+"
        self._begun = f"(?:{lead})({held})"
        self.held = rf"(?:{lead})(?:{held})\z"
        self._rest, self._inside = filled(rule.rest) or f"{run}*", filled(rule.inside) or f"{run}*"
        self._allowed = "|".join(f"(?:{filled(text)})" for text in (*allow, *rule.allow))

    def check(self) -> None:
        """Raises BadPattern unless every pattern compiles, and none has groups of its own."""
        texts = (self.full, self.held, self._caught, self._begun, self._rest, self._inside)
        if [pattern(text).groups for text in texts] != [0, 0, 1, 1, 0, 0]:
            raise BadPattern("groups must be written as `(?:...)`")
        pattern(self._allowed)

    def rest(self, data: bytes) -> int:
        """How much at the beginning is left of a secret, from anywhere inside it."""
        match = pattern(self._rest).match(data)
        return match.end() if match else 0

    def inside(self, data: bytes) -> bool:
        """Whether all of it is, or may be, inside a secret."""
        return pattern(self._inside).fullmatch(data) is not None

    def search(self, data: bytes) -> Iterable[Found]:
        """The secrets of this shape."""
        at, whole = 0, pattern(self.full)
        while (match := whole.search(data, at)) is not None:
            start, end = self._place(data, *match.span())
            at = max(end, at + 1)
            if end > start and self._is_secret(data[start:end]):
                yield Found(*_whole_letters(data, start, end), self)

    def hold(self, data: bytes) -> int:
        """Where what may still become a secret begins; the end when nothing may."""
        match = pattern(self.held).search(data)
        if match is None:
            return len(data)
        begun = pattern(self._begun).match(data[match.start() :][:SLICE_BYTES])
        return _whole_letters(data, match.start() + (begun.start(1) if begun else 0), 0)[0]

    def _place(self, data: bytes, start: int, end: int) -> tuple[int, int]:
        """Where the secret is in what the whole pattern matched.

        The library is slow to tell where a group is, so it is never asked in a long text.
        """
        short = end - start <= SLICE_BYTES
        found = pattern(self._caught if short else self._begun)
        one = found.match(data[start:end][:SLICE_BYTES])
        if one is None:
            return start, end
        return start + one.start(1), start + one.end(1) if short else end

    def _is_secret(self, secret: bytes) -> bool:
        if self._bounded and len(secret) > LONGEST_BYTES:
            return False
        with_digit, without = self._entropy
        if without and entropy(secret) < (with_digit if _DIGIT.search(secret) else without):
            return False
        return not self._allowed or pattern(self._allowed).fullmatch(secret) is None


class Rules:
    """Every shape that is looked for."""

    def __init__(self, shapes: Iterable[Shape]) -> None:
        self.shapes = tuple(shapes)

    @cached_property
    def _set(self) -> PatternSet:
        return pattern_set([shape.full for shape in self.shapes])

    @cached_property
    def _streaming(self) -> PatternSet:
        shapes = self.shapes
        return pattern_set([*(one.full for one in shapes), *(one.held for one in shapes)])

    def found(self, data: bytes) -> list[Found]:
        """Every secret, in order; they do not overlap."""
        near = self._set(data)
        return self._search(data, near) if near else []

    def maybe_quoted(self, data: bytes) -> bool:
        """Whether strings of a JSON text may hold secrets, or hide them by escapes."""
        # By the same set as whole texts: its states are in the processor's cache as a rule.
        hides = data.find(b"\\u") >= 0 or data.find(b"\\/") >= 0
        return hides or bool(self._set(data))

    def watch(self, data: bytes, done: int) -> tuple[list[Found], int] | None:
        """The secrets of a text that goes on, and where, from `done`, one may begin; else None."""
        near = self._streaming(data)
        if not near:
            return None
        count = len(self.shapes)
        holds = [self.shapes[place - count].hold(data) for place in near if place >= count]
        hold = min((at for at in holds if at >= done), default=len(data))
        found = self._search(data, [place for place in near if place < count])
        for one in found:
            if one.start < hold < one.end:
                hold = one.start
        return found, hold

    def _search(self, data: bytes, near: Iterable[int]) -> list[Found]:
        found = [one for place in near for one in self.shapes[place].search(data)]
        if len(found) < 2:
            return found
        apart: list[Found] = []
        for one in sorted(found, key=lambda one: (one.start, -one.end)):
            if apart and one.start < apart[-1].end:
                apart[-1] = apart[-1]._replace(end=max(apart[-1].end, one.end))
            else:
                apart.append(one)
        return apart


def load(
    data: bytes,
    own: Sequence[Rule] = (),
    allow: Sequence[str] = (),
    exceptions: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[Shape]:
    """The shapes of a file, and an operator's own rules and exceptions, for all or by rule.

    Raises msgspec.DecodeError, ValidationError; patterns are not compiled yet.
    """
    file = msgspec.json.decode(data, type=RuleFile)
    return [
        Shape(rule, file.parts, (*file.allow, *allow, *exceptions.get(rule.name, ())))
        for rule in (*file.rules, *own)
    ]


@cache
def shipped() -> Rules:
    """The rules that come with the server."""
    return Rules(load(SHIPPED))


def suspicious(text: str) -> bool:
    """Whether `redact` would change this text."""
    return bool(shipped().found(encoded(text)))


def redact(text: str) -> str:
    """`text` with everything that looks like a secret replaced."""
    data = encoded(text)
    found = shipped().found(data)
    return decoded(replaced(data, found, _marked)) if found else text


def replaced(data: bytes, found: Iterable[Found], mark: Mark) -> bytes:
    """`data` with marks in the places of secrets."""
    pieces: list[bytes] = []
    at = 0
    for one in found:
        pieces += (data[at : one.start], mark(one, data[one.start : one.end]))
        at = one.end
    pieces.append(data[at:])
    return b"".join(pieces)


def _marked(_: Found, __: bytes) -> bytes:
    return MARK.encode()


def encoded(text: str) -> bytes:
    """The text as it is searched; lone surrogates included."""
    return text.encode("utf-8", "surrogatepass")


def decoded(data: bytes) -> str:
    """The text of what was searched."""
    return data.decode("utf-8", "surrogatepass")


def entropy(secret: bytes) -> float:
    """Shannon's entropy, in bits a byte."""
    size = len(secret)
    counts = [secret.count(letter) for letter in set(secret)]
    return -sum(count / size * log2(count / size) for count in counts)


_DIGIT = re.compile(rb"[0-9]")
_PART = re.compile(r"\{([a-z]+)\}")
_SPECIAL = re.compile(r"([^A-Za-z0-9_ /-])")


def _literal(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _begun(needle: str) -> str:
    """Matches a beginning of the needle."""
    made = ""
    for letter in reversed(needle):
        made = _literal(letter) + (f"(?:{made})?" if made else "")
    return made


def _whole_letters(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The same, moved so that no letter of UTF-8 is cut."""
    while 0 < start < len(data) and data[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return start, end
