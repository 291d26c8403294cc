"""Steps that take away what is said already: above the cursor, below it, or over and over."""

from itertools import islice

from isthmus.gateway.polish.place import Place, says_something

_OVERLAP_CHARS = 2_000
_OVERLAP_LEAST = 3
_COPIES = 3
_LOOP_LINES = 8
_TRIED = 20
"""Places that are compared with what lies below, at most."""


def clean_model_reflection(text: str, place: Place) -> str:
    """Without an echo of the text above the cursor at its start: whole lines, or the current one.

    An echo begins at a line's start and is at least three characters long.
    """
    window = place.prefix[-_OVERLAP_CHARS:]
    whole = len(window) == len(place.prefix)
    head = text[:_OVERLAP_LEAST]
    at = window.find(head)
    while at >= 0:
        line = window.rfind("\n", 0, at) + 1
        starts = (line > 0 or whole) and not window[line:at].strip()
        size = len(window) - at
        if starts and size >= _OVERLAP_LEAST and text.startswith(window[at:]):
            return text[size:] if window[at:].strip() else text
        at = window.find(head, at + 1)
    return text


def cut_at_suffix(text: str, place: Place) -> str:
    """Up to where it would begin to repeat the text below the cursor."""
    head = place.suffix[:_OVERLAP_CHARS]
    if len(head) >= _OVERLAP_LEAST:
        seed = head[:_OVERLAP_LEAST]
        at = text.find(seed, -len(head))
        while at >= 0:
            if head.startswith(text[at:]) and says_something(text[at:]):
                return text[:at]
            at = text.find(seed, at + 1)
    return _before_lines(text, head) if "\n" in text else text


def drop_repeats(text: str, _: Place) -> str:
    """One copy of the lines that come again and again until the end; three copies are a loop."""
    if "\n" not in text:
        return text
    lines = text.rstrip().split("\n")
    for size in range(1, min(_LOOP_LINES, len(lines) // _COPIES) + 1):
        block = lines[-size:]
        first = len(lines) - size
        while first >= size and lines[first - size : first] == block:
            first -= size
        if len(lines) - first >= _COPIES * size and says_something("".join(block)):
            return "\n".join(lines[: first + size])
    return text


def _before_lines(text: str, head: str) -> str:
    ahead = [line.rstrip() for line in head.split("\n")[1:] if line.strip()]
    if not ahead or not says_something(ahead[0]):
        return text
    lines = text.split("\n")
    again = (at for at, line in enumerate(lines) if at and line.rstrip() == ahead[0])
    for at in islice(again, _TRIED):
        if _repeats(lines[at : at + _OVERLAP_CHARS], ahead):
            return "\n".join(lines[:at])
    return text


def _repeats(lines: list[str], ahead: list[str]) -> bool:
    """Whether lines and what is ahead are the same for as long as both go on."""
    said = (line.rstrip() for line in lines if line.strip())
    return all(line == other for line, other in zip(said, ahead, strict=False))
