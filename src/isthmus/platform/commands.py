"""Words of a user that begin with a slash, and what they ask for.

`/compact` is the engine's own; every other command is a text that takes the place of the words, a
file of the library. Source: agent-platform contract, section 7.13.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

COMPACT: Final = "compact"
MAX_HINT_CHARS: Final = 2_000
_PLACE: Final = "{text}"
# The path of a file has more than one slash, or a dot: it is no command.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_WORDS = re.compile(rf"\s*/({_NAME.pattern})(?:\s+(.*))?\Z", re.DOTALL)

Templates: TypeAlias = Mapping[str, str]
"""Name of a command -> what a model is told, with `{text}` for the words behind the name."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a model is told."""

    text: str


@dataclass(frozen=True, slots=True)
class Order:
    """What is done in place of asking a model; one that there is not is answered with a list."""

    name: str
    text: str


def read(said: str, templates: Templates) -> Words | Order:
    """What the user's words are."""
    found = _WORDS.match(said)
    if found is None:
        return Words(said)
    name, text = found[1], (found[2] or "").strip()
    template = templates.get(name)
    if template is None:
        return Order(name, text[:MAX_HINT_CHARS])
    return Words(template.replace(_PLACE, text).strip())


def unknown(name: str, templates: Templates) -> str:
    """The answer to a command that there is not."""
    known = ", ".join(f"`/{one}`" for one in sorted({COMPACT, *templates}))
    return f"There is no command `/{name}`. There are {known}."


def load(folder: Path) -> Templates:
    """The library's commands. Blocking: files are read. Raises ValueError when a file is wrong."""
    templates: dict[str, str] = {}
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        if path.stem == COMPACT or text.count(_PLACE) != 1 or not _NAME.fullmatch(path.stem):
            raise ValueError(f"{path.name}: a command has a name of its own and one {_PLACE}")
        templates[path.stem] = text
    return templates
