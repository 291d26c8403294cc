"""Searches texts for orders to a model by `library/injections.yml`, in linear time."""

import asyncio
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from isthmus.platform.scan import Subject
from isthmus.redaction.automaton import PatternSet, pattern_set

FILE: Final = Path(str(files("isthmus"))) / "library" / "injections.yml"
INLINE_CHARS: Final = 8_192
"""Longer texts are searched on a thread, so that the loop goes on."""
_SPACE: Final = r"(?:(?:[\s>#*/_`\"'|-]|\\[nrt]){1,16})"
"""What may stand between two words, where a comment or a quotation is wrapped."""


class _Rule(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    patterns: tuple[str, ...]


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    parts: Mapping[str, str]
    rules: tuple[_Rule, ...]


class RuleScanner:
    """Implements `Scanner`. Reads its file when it is first asked."""

    async def scan(self, subject: Subject) -> str:
        """The name of the first rule that finds something; "" when none does."""
        if len(subject.text) > INLINE_CHARS:
            return await asyncio.to_thread(_found, subject.text)
        # The first time, patterns are read and compiled.
        await asyncio.to_thread(rules)
        return _found(subject.text)


def _found(text: str) -> str:
    names, patterns = rules()
    matches = patterns(text.encode("utf-8", "replace"))
    return names[min(matches)] if matches else ""


@cache
def rules(file: Path = FILE) -> tuple[tuple[str, ...], PatternSet]:
    """A name for each pattern, and the patterns. Blocking. Raises ValueError for a bad file."""
    read = msgspec.yaml.decode(file.read_bytes(), type=_File)
    named = [(rule.name, each) for rule in read.rules for each in rule.patterns]
    filled = [_filled(each, read.parts) for _, each in named]
    return tuple(name for name, _ in named), pattern_set(filled)


def _filled(pattern: str, parts: Mapping[str, str]) -> str:
    for name, part in parts.items():
        pattern = pattern.replace(f"{{{name}}}", part)
    return "(?i)" + _spaced(pattern)


def _spaced(pattern: str) -> str:
    """Spaces stand for what may be between words; those inside of brackets stay as they are."""
    made: list[str] = []
    inside = False
    for letter in pattern:
        inside = letter == "[" or (inside and letter != "]")
        made.append(_SPACE if letter == " " and not inside else letter)
    return "".join(made)
