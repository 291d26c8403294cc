"""Steps that take away what is not code to insert: marks, fences, comments, blanks, bad guesses."""

import re
from collections.abc import Mapping

from isthmus.gateway.language import Comments
from isthmus.gateway.polish.place import Place

_MARKERS = re.compile(
    r"</?cursor/?>|<\|(?:cursor|fim_\w{1,10}|endoftext|end_of_text|file_sep)\|>"
    r"|<(?:fim_\w{1,10}|file_sep|PRE|SUF|MID|EOT)>|\[(?:PREFIX|SUFFIX|MIDDLE)\]"
)
_FENCE = re.compile(r"\s*(`{3,}|~{3,})[^\n`]*(?:\n|$)")


def _only(*marks: str) -> re.Pattern[str]:
    """Text of nothing but space and comments: from a mark to the line's end, or between two."""
    kinds = [r"\s"]
    for mark in marks:
        opening, _, closing = mark.partition(" ")
        body = rf".*?(?:{re.escape(closing)}|\Z)" if closing else r"[^\n]*"
        kinds.append(re.escape(opening) + body)
    return re.compile(rf"(?:{'|'.join(kinds)})*+", re.DOTALL)


_COMMENTS: Mapping[Comments, re.Pattern[str]] = {
    "slash": _only("//", "/* */"),
    "hash": _only("#"),
    "slash_hash": _only("//", "/* */", "#"),
    "dash": _only("--", "{- -}", "/* */"),
    "semicolon": _only(";"),
    "percent": _only("%"),
    "paren": _only("(* *)", "//"),
    "bang": _only("!"),
    "quote": _only("'", '"'),
}


def clean_irrelevant_keywords(text: str, _: Place) -> str:
    """Without artefacts that mark the cursor or the parts of a fill-in-the-middle prompt."""
    return _MARKERS.sub("", text) if "<" in text or "[" in text else text


def strip_markdown_fences(text: str, _: Place) -> str:
    """What stands inside one Markdown fence that wraps the whole answer."""
    opening = _FENCE.match(text) if "```" in text or "~~~" in text else None
    if opening is None:
        return text
    body = text[opening.end() :]
    kept = body.rstrip()
    closing = kept.rfind("\n") + 1
    if kept[closing:].strip() == opening[1]:
        return body[:closing].removesuffix("\n")
    return body


def remove_comment_only_completion(text: str, place: Place) -> str:
    """Nothing, when there is nothing but comments."""
    pattern = _COMMENTS.get(place.comments)
    return "" if pattern is not None and pattern.fullmatch(text) else text


def strip_asterisks(text: str, _: Place) -> str:
    """Without lines of nothing but asterisks at its end."""
    end = len(text)
    while True:
        stop = end - text.endswith("\n", 0, end)
        begin = text.rfind("\n", 0, stop)
        line = text[begin + 1 : stop]
        if "*" not in line or line.strip("* \t"):
            return text[:end]
        end = max(begin, 0)


def filter_score(text: str, place: Place) -> str:
    """Nothing, when the model trusts its own answer less than is asked of it."""
    if place.score is None or place.least_score is None:
        return text
    return text if place.score >= place.least_score else ""


def strip_whitespaces(text: str, _: Place) -> str:
    """Nothing, when only white space is left."""
    return text if text.strip() else ""
