"""Versions of prompts, and the constraints that pick one.

Constraints follow Poetry's grammar: `^1.2`, `~1.2.0`, `1.*`, `>=1.0,<2`, `!=1.4.0`, `a || b`.
A constraint never picks a pre-release; only its exact name, or `*`, does.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

Release: TypeAlias = tuple[int, int, int]
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:-([0-9A-Za-z][0-9A-Za-z.-]{0,30}))?")
_CLAUSE = re.compile(
    r"(\^|~|>=|<=|==|!=|>|<|=)?\s*(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?(\.\*)?"
)
_CONSTRAINT_CHARS = 100
_TOP: Release = (1_000_000, 0, 0)


@dataclass(frozen=True, slots=True)
class Version:
    """A version as its file names it; a pre-release stands before its release."""

    text: str
    release: Release
    pre: str = ""

    @property
    def order(self) -> tuple[Release, bool, str]:
        """Sort key."""
        return self.release, not self.pre, self.pre


def parse(text: str) -> Version:
    """A version of three numbers and an optional pre-release. Raises ValueError."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a version such as 1.2.0 or 1.2.0-dev")
    release = (int(match[1]), int(match[2]), int(match[3]))
    return Version(text, release, match[4] or "")


def pick(versions: Iterable[Version], wanted: str) -> Version | None:
    """The exact version named, else the highest that the constraint allows; None when none does.

    Raises ValueError when `wanted` is no constraint.
    """
    known = sorted(versions, key=lambda version: version.order, reverse=True)
    for version in known:
        if version.text == wanted:
            return version
    if wanted == "*":
        return known[0] if known else None
    if _VERSION.fullmatch(wanted):
        return None
    allows = _constraint(wanted)
    return next((v for v in known if not v.pre and allows(v.release)), None)


def _constraint(text: str) -> Callable[[Release], bool]:
    if len(text) > _CONSTRAINT_CHARS:
        raise ValueError("the version constraint is too long")
    choices = [[_clause(clause) for clause in choice.split(",")] for choice in text.split("||")]
    return lambda release: any(all(allows(release) for allows in choice) for choice in choices)


def _clause(text: str) -> Callable[[Release], bool]:
    text = text.strip()
    if text == "*":
        return lambda _: True
    match = _CLAUSE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a version constraint")
    operator, wild = match[1] or "", match[5] is not None
    parts = [int(part) for part in match.group(2, 3, 4) if part is not None]
    if wild and (operator not in ("", "==", "=", "!=") or len(parts) == 3):
        raise ValueError(f"{text!r} is not a version constraint")
    return _bounds(operator, parts, wild=wild)


def _bounds(operator: str, parts: list[int], *, wild: bool) -> Callable[[Release], bool]:
    low = _padded(parts)
    if operator in ("^", "~") or wild:
        high = _caret(parts) if operator == "^" else _bumped(parts, min(len(parts), 2))
        if wild:
            high = _bumped(parts, len(parts))
        if operator == "!=":
            return lambda release: not low <= release < high
        return lambda release: low <= release < high
    compare: dict[str, Callable[[Release], bool]] = {
        ">=": lambda release: release >= low,
        "<=": lambda release: release <= low,
        ">": lambda release: release > low,
        "<": lambda release: release < low,
        "!=": lambda release: release != low,
    }
    return compare.get(operator, lambda release: release == low)


def _caret(parts: list[int]) -> Release:
    """Below the next change of the first number that is not zero."""
    for place, part in enumerate(parts, start=1):
        if part:
            return _bumped(parts, place)
    return _bumped(parts, len(parts))


def _bumped(parts: list[int], places: int) -> Release:
    if not places:
        return _TOP
    return _padded([*parts[: places - 1], parts[places - 1] + 1])


def _padded(parts: list[int]) -> Release:
    first, second, third = [*parts, 0, 0, 0][:3]
    return first, second, third
