"""Ranks other files by how much they may tell about the code at the cursor."""

import re
from pathlib import PurePosixPath

from isthmus.core.messages import ContextItem

HEAD_CHARS = 8_000
"""How much of a file is looked at, at most."""
ALL_CHARS = 100_000
"""How much of all files together."""
NEAR_CHARS = 3_000
_WORD = re.compile(r"[A-Za-z_]\w{2,63}")
_FOLDER, _LANGUAGE, _RECENT, _WORDS = 2.0, 1.0, 1.0, 4.0


def ranked(
    context: tuple[ContextItem, ...], file_name: str, prefix: str
) -> tuple[ContextItem, ...]:
    """The items, the closest first; equal ones in their order, in which recent files come first.

    Counted are the folder, the extension, the place in the order, and the words that an item shares
    with the text before the cursor.
    """
    if len(context) < 2:
        return context
    near = set(_WORD.findall(prefix[-NEAR_CHARS:]))
    folder, extension = _place(file_name)
    head_chars = min(HEAD_CHARS, ALL_CHARS // len(context))
    scores: list[tuple[float, int]] = []
    for number, item in enumerate(context):
        other_folder, other_extension = _place(item.name)
        words = set(_WORD.findall(item.content[:head_chars]))
        score = (
            _FOLDER * _shared(folder, other_folder)
            + _LANGUAGE * (extension == other_extension)
            + _RECENT / (number + 1)
            + _WORDS * (len(near & words) / len(near) if near else 0.0)
        )
        scores.append((-score, number))
    return tuple(context[number] for _, number in sorted(scores))


def _place(name: str) -> tuple[tuple[str, ...], str]:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.parent.parts, path.suffix


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """The part of two paths that is the same."""
    same = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        same += 1
    longest = max(len(one), len(other))
    return same / longest if longest else 1.0
