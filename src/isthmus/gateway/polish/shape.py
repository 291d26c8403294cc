"""Steps that make an answer fit the lines around it: breaks, indentation, brackets, its end."""

import re

from isthmus.gateway.polish.place import Place

_PAIRS = {"(": ")", "[": "]", "{": "}"}
_CLOSERS = {closer: opener for opener, closer in _PAIRS.items()}
_MARK = re.compile(r"\\.|[\"'`()\[\]{}]")
_CLOSING = re.compile(r"[\s)\]};,]*")
_CLOSED_CHARS = 200
_SCANNED_CHARS = 8_000
_OPENS_BLOCK = (":", "{", "(", "[")


def open_line(text: str, place: Place) -> str:
    """On a new line, when the text above ends in the middle of a comment's or statement's line."""
    line = place.line
    ends = line.rstrip().endswith((":", "{", ";", "*/")) or _is_comment(line)
    return "\n" + text if line.strip() and ends and not text.startswith("\n") else text


def fix_indentation(text: str, place: Place) -> str:
    """Without the cursor's indentation again, and the lines of a block indented from there.

    Models that are shown a cursor repeat the white space before it, or write a block as if it
    began in the first column.
    """
    if "\n" not in text and not text[0].isspace():
        return text
    indent = place.line
    if not indent or not indent.isspace():
        return text
    if text.startswith(indent):
        return text[len(indent) :]
    first, _, rest = text.partition("\n")
    lines = rest.split("\n")
    inner = next((line for line in lines if line.strip()), "")
    depth = len(inner) - len(inner.lstrip())
    if first[:1].isspace() or not first.rstrip().endswith(_OPENS_BLOCK) or not inner:
        return text
    if not 0 < depth <= len(indent) or inner.startswith(indent + inner[:1]):
        return text
    return "\n".join([first, *(indent + line if line.strip() else line for line in lines)])


def fix_end_block_errors(text: str, place: Place) -> str:
    """Up to the first closing bracket that it did not open and that the text below holds."""
    held = _held(place)
    if not held:
        return text
    unopened = _scan(text)[1]
    closers = [text[at] for at in unopened]
    for count in range(min(len(held), len(closers)), 0, -1):
        if closers[-count:] == held[:count]:
            at = unopened[-count]
            return (
                text[:at].rstrip() if not text[at:].strip("".join(_CLOSERS) + "; \n\t,") else text
            )
    return text


def close_brackets(text: str, place: Place) -> str:
    """With the round and square brackets closed that it opened and nothing closes.

    Not where the answer goes on: at an open block, inside a string or comment, at the cap.
    """
    if ("(" not in text and "[" not in text) or place.truncated or len(text) > _SCANNED_CHARS:
        return text
    end = text.rstrip()
    rest = place.suffix[:_CLOSED_CHARS].partition("\n")[0]
    if end[-1:] in _PAIRS or rest.strip(" \t)]};,") or _is_comment(end[end.rfind("\n") + 1 :]):
        return text
    line = place.line
    opened, _, quote = _scan(line + text)
    own = 0
    while own < len(opened) and opened[~own][1] >= len(line) and opened[~own][0] in "([":
        own += 1
    if not own or quote:
        return text
    kept = _left(opened, own, _held(place))
    return end + "".join(_PAIRS[mark] for mark, _ in reversed(opened[kept:]))


def fix_truncation(text: str, place: Place) -> str:
    """Without its last line, when the cap on the output cut it short there."""
    if not place.truncated or not place.language:
        return text
    kept, _, _ = text.rstrip("\n").rpartition("\n")
    return kept if kept.strip() else text


def _held(place: Place) -> list[str]:
    """The closing brackets that the text below begins with."""
    head = _CLOSING.match(place.suffix[:_CLOSED_CHARS])
    return [char for char in (head[0] if head else "") if char in _CLOSERS]


def _left(opened: list[tuple[str, int]], own: int, held: list[str]) -> int:
    """How many brackets are left to the text below; the last `own` ones may be closed here.

    As many as it closes; when it closes too few, as many as fit to the ones it has.
    """
    total = len(opened)
    fitting = [
        left
        for left in range(total, total - own - 1, -1)
        if all(
            _PAIRS[mark] == closer
            for (mark, _), closer in zip(reversed(opened[:left]), held, strict=False)
        )
    ]
    whole = [left for left in fitting if left <= len(held)]
    return (whole or (fitting if held else []) or [total - own])[0]


def _scan(text: str) -> tuple[list[tuple[str, int]], list[int], str]:
    """Brackets left open, with their places; places of closers that nothing opened; open quote."""
    opened: list[tuple[str, int]] = []
    unopened: list[int] = []
    quote = ""
    for match in _MARK.finditer(text):
        mark = match[0]
        if quote or mark in "\"'`":
            quote = "" if mark == quote else quote or mark
        elif mark in _PAIRS:
            opened.append((mark, match.start()))
        elif mark in _CLOSERS:
            if opened and opened[-1][0] == _CLOSERS[mark]:
                opened.pop()
            else:
                unopened.append(match.start())
    return opened, unopened, quote


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(("#", "//", "--", "/*", "*", ";", "%"))
