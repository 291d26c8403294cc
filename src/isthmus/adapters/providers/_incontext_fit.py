"""Cuts grown text so that it fits between the text above and the text below the cursor."""

import re
from dataclasses import dataclass

_PAIRS = {"(": ")", "[": "]", "{": "}"}
_OPENERS = {closer: opener for opener, closer in _PAIRS.items()}
_MARK = re.compile(r'\\.|"""|\'\'\'|["\'`()\[\]{}]')
_STRING = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\\n])*`")
_CLOSERS = re.compile(r"[\s)\]}\"'`;,:]*")
_DANGLING = re.compile(r"[^\w\s)\]}\"'`;:]+$")
_LOOK_BACK_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Place:
    """The cursor's surroundings, worked out once.

    `line` is the current line up to the cursor, `rest` the current line after it, `next_line` the
    first line below with anything on it, `open` the brackets that stand open at the cursor and are
    not closed by `rest` or at the start of `next_line`, innermost last.
    """

    line: str
    rest: str
    next_line: str
    open: str

    @property
    def quote(self) -> str:
        """The quote that stands open on the current line, or nothing."""
        return _open_quote(self.line)

    @property
    def indent(self) -> str:
        """The white space that begins the current line."""
        return _indent(self.line)


def place_of(above: str, below: str) -> Place:
    """The surroundings of a cursor between two texts."""
    above = above[-_LOOK_BACK_CHARS:]
    line = above[above.rfind("\n") + 1 :]
    rest, _, under = below[:_LOOK_BACK_CHARS].partition("\n")
    next_line = next((text for text in under.split("\n") if text.strip()), "")
    stack = _open_brackets(above)
    held = _head_closers(rest) + (_head_closers(next_line) if not rest.strip() else "")
    for closer in held:
        if stack and stack[-1] == _OPENERS[closer]:
            stack.pop()
    return Place(line, rest.rstrip("\r"), next_line, "".join(stack))


def fit(text: str, place: Place, *, ended: bool) -> str:
    """The part of `text` that may be inserted at `place`; empty when none may.

    In order: nothing that the rest of the line holds, no line of lower indentation and no blank
    line, balanced brackets and quotes, no operator left hanging, not the line that comes next.
    """
    text = _before_rest(text, place)
    text = _inside_block(text, place)
    balanced = _balanced(text, place)
    if not ended or balanced != text:
        balanced = _DANGLING.sub("", balanced.rstrip()).rstrip()
    return _unless_next(balanced, place)


def _before_rest(text: str, place: Place) -> str:
    rest = place.rest.strip()
    if not rest:
        return text
    first = text.split("\n", 1)[0]
    if _CLOSERS.fullmatch(rest):
        return first[: len(first) - _overlap(first, rest)]
    at = first.find(rest[:12])
    if at >= 0:
        return first[:at]
    return ""


def _overlap(text: str, rest: str) -> int:
    for size in range(min(len(text), len(rest)), 0, -1):
        if text.endswith(rest[:size]):
            return size
    return 0


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _inside_block(text: str, place: Place) -> str:
    lines = text.split("\n")
    floor = len(place.indent)
    kept = lines[:1]
    for line in lines[1:]:
        if not line.strip() or len(_indent(line)) < floor:
            break
        kept.append(line)
    return "\n".join(kept)


def _balanced(text: str, place: Place) -> str:
    """Up to the first closer that nothing opened, or the first opener that nothing closes."""
    stack: list[tuple[str, int]] = [(opener, -1) for opener in place.open]
    quote, quote_at = place.quote, -1
    for match in _MARK.finditer(text):
        mark = match[0]
        if quote:
            if mark == quote:
                quote = ""
        elif mark in "\"'`":
            quote, quote_at = mark, match.start()
        elif mark in _PAIRS:
            stack.append((mark, match.start()))
        elif mark in _OPENERS:
            if not stack or stack[-1][0] != _OPENERS[mark]:
                return text[: match.start()]
            stack.pop()
    cuts = [at for _, at in stack if at >= 0]
    if quote and quote_at >= 0:
        cuts.append(quote_at)
    if cuts == [len(text) - 1] and text[-1] == "{" and place.next_line.strip().startswith("}"):
        return text
    return text[: min(cuts)] if cuts else text


def _unless_next(text: str, place: Place) -> str:
    """Nothing when the line would only repeat the one below; no line below is emitted again."""
    if not place.next_line:
        return text
    lines = text.split("\n")
    ahead = place.next_line.strip()
    lines[0] = place.line + lines[0]
    for number, line in enumerate(lines):
        if line.strip() == ahead:
            return "\n".join(text.split("\n")[:number])
    return text


def _open_brackets(text: str) -> list[str]:
    stack: list[str] = []
    for match in re.finditer(r"[()\[\]{}]", _STRING.sub("", text)):
        mark = match[0]
        if mark in _PAIRS:
            stack.append(mark)
        elif stack and stack[-1] == _OPENERS[mark]:
            stack.pop()
    return stack


def _head_closers(text: str) -> str:
    head = _CLOSERS.match(text)
    return "".join(char for char in (head[0] if head else "") if char in _OPENERS)


def _open_quote(line: str) -> str:
    quote = ""
    for match in re.finditer(r"\\.|[\"'`]", line):
        mark = match[0]
        if len(mark) > 1:
            continue
        if not quote:
            quote = mark
        elif quote == mark:
            quote = ""
    return quote
