"""Reads the text of a `.env` file: `NAME=value` lines, comments, quotes, values of many lines."""

import re

LIMIT_CHARS = 1_000_000
_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SINGLE = re.compile(r"'([^']*)'")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def read(text: str) -> dict[str, str]:
    """Name -> value; a name that comes twice keeps its last value.

    Single quotes keep text as it is, double quotes know backslash escapes, and either may span
    lines. Without quotes a value ends at ` #` or the line's end. Nothing is interpolated. Lines
    that assign nothing are skipped; characters past LIMIT_CHARS are not read.
    """
    text = text[:LIMIT_CHARS].replace("\r\n", "\n")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _ASSIGNMENT.match(text, at)
        if match is not None:
            found[match[1]], at = _value(text, match.end())
        end = text.find("\n", at)
        at = len(text) if end < 0 else end + 1
    return found


def _value(text: str, at: int) -> tuple[str, int]:
    if (match := _DOUBLE.match(text, at)) is not None:
        return _ESCAPE.sub(lambda part: _ESCAPED.get(part[1], part[1]), match[1]), match.end()
    if (match := _SINGLE.match(text, at)) is not None:
        return match[1], match.end()
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    value = text[at:end]
    comment = re.search(r"(?:^|\s)#", value)
    return (value[: comment.start()] if comment else value).strip(), end
