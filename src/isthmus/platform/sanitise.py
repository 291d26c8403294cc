"""What hides in a tool's result, or poses as ours, is taken out before a model sees it. Pure.

Every string of JSON is treated like a text of its own, JSON in such strings included. A text in
which nothing is found comes back as it was, byte for byte. The time is linear in its size.
Source: agent-platform contract, section 9.1.
"""

import json
import re
from functools import partial

import msgspec

from isthmus.platform import markup
from isthmus.platform.tool import Cleaning

DEEPEST = 6
"""JSON in strings of JSON is read so deep; below, it is a text with escapes."""
ROUNDS = 4
"""What is taken out can join what was around it: so often is looked again."""
_TAGS = (
    r"goal|system|truncated_output|kept_output|tool_output\w*|session_rules\w*"
    r"|conversation_summary|attached|user_request|delegation_result"
    r"|(?:antml:)?(?:function_calls|function_results|invoke|tool_calls?|tool_results?)"
)
"""Names of frames: ours, and those by which models call tools and read what these return."""
_RUN = r"(?<!\\)\\{1,64}+"
_LT = rf"(?:[<\uff1c\ufe64]|{_RUN}(?:u003c|x3c))"
_GT = rf"(?:[>\uff1e\ufe65]|{_RUN}(?:u003e|x3e))"
_GAP = r"(?:\s|(?<!\\)\\{1,64}+[nrt])*+"
_FRAME = re.compile(
    rf"{_LT}({_GAP}(?:(?:{_RUN})?+(?:/|u002f|x2f))?+{_GAP}(?:{_TAGS})\b[^<>\\]{{0,256}}+)({_GT})?+",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    rf"{_LT}([|\uff5c][\w\u2581-]{{1,48}}[|\uff5c]|(?:start|end)_of_turn|bos|eos){_GT}"
    rf"|{_LT}{_LT}(/?+SYS){_GT}{_GT}"
    r"|\[(/?+INST|/?+TOOL_CALLS|/?+AVAILABLE_TOOLS|/?+TOOL_RESULTS)\]",
    re.IGNORECASE,
)
"""By which servers of open models tell turns apart, if they read them in a text."""
_UNSEEN = re.compile(
    "[\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
    "|[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb]"
    "|(?<=[\ufe00-\ufe0f])[\ufe00-\ufe0f]+"
    "|(?<=[\x00-\x7f])[\u200c\u200d]+|[\u200c\u200d]+(?=[\x00-\x7f]|\\Z)"
    "|\x1b\\[[0-9;:?<=>]{0,64}+[ -/]{0,8}+[@-~]?|\x1b\\][^\x07\x1b]{0,4096}+(?:\x07|\x1b\\\\)?"
    "|[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]"
)
"""What no eye sees: tags and selectors as the contract lists them, and the rest of that kind."""
_ESCAPED = re.compile(
    rf"{_RUN}(?:udb40\\{{1,64}}+ud[c-d][0-9a-f]{{2}}|U000e0[01][0-9a-f]{{2}}|u\{{0*+e0[01][0-9a-f]{{2}}\}})"
    r"|&\#(?:x0{0,8}+e0[01][0-9a-f]{2}|0{0,8}+9(?:17[5-9]|18[0-9])[0-9]{2});",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"^[ \t>]{0,16}+(?:(?:[-*+]|\d{1,9}+[.)])[ \t]{1,8}+)?+"
    r"\[(?:(?P<remark>//|comment|_)|(?:[^\[\]\\\n]|\\.){0,999}+)\]:[ \t]*+(?:\n[ \t]*+)?+"
    r"(?:<>|\#(?![\w/-])|(?(remark)[^\s]++|(?!)))"
    r"(?:[ \t]*+(?:\"[^\"]{0,4000}+\"|'[^']{0,4000}+'|\([^()]{0,4000}+\))[^\n]*+"
    r"|[ \t]*+\n[ \t]*+(?:\"[^\"]{0,4000}+\"|'[^']{0,4000}+'|\([^()]{0,4000}+\))[ \t]*+(?=\n|\Z)"
    r"|[^\n]*+)\n?+",
    re.MULTILINE | re.IGNORECASE,
)
"""A reference of Markdown that leads nowhere: a remark that no page shows."""
_DIAGRAM = re.compile(
    r"^(?P<in>[ \t>]*+)(?P<fence>`{3,32}+|~{3,32}+)[ \t]*+\{?\.?mermaid\b[^\n]*+\n"
    r".*?(?:^[ \t>]*+(?P=fence)|\Z)",
    re.MULTILINE | re.IGNORECASE | re.DOTALL,
)
_REMARK = re.compile(r"^[ \t>]*+%%[^\n]*+\n?+", re.MULTILINE)
_LITERAL = re.compile(r'"(?:[^"\\]++|\\.)*+(?:(?P<end>")|\\?+)', re.DOTALL)
_BROKEN = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_SUSPECT = re.compile(r"[^\x20-\x7e]|[<\\\[%&]")


def cleaned(text: str, how: Cleaning) -> str:
    """The text as a model may see it; `review` leaves HTML and diagrams alone, `none` all."""
    return text if how == "none" else _cleaned(text, how, 0)


def visible(text: str) -> str:
    """The text without characters that nobody sees, written out or as escapes."""
    if not text.isascii() or _CONTROL.search(text):
        text = _UNSEEN.sub("", text)
    return _ESCAPED.sub("", text) if "\\" in text or "&#" in text else text


def encoded(text: str) -> str:
    """The text in which no tag is one of a frame's, and no mark one of a turn's."""
    return _TOKEN.sub(_spelled, _FRAME.sub(_spelled_tag, text))


def _cleaned(text: str, how: Cleaning, depth: int) -> str:
    if not _SUSPECT.search(text):
        return text
    if depth < DEEPEST and _begins_as_json(text):
        text = _LITERAL.sub(partial(_literal, how=how, depth=depth + 1), text)
        if _is_json(text):
            # Its strings are clean: another look at their borders could only break it.
            return text
    for _ in range(ROUNDS):
        before = text
        text = _once(text, how, document=depth > 0)
        if text == before:
            return encoded(text)
    return text.replace("<", "&lt;").replace(">", "&gt;")


def _once(text: str, how: Cleaning, *, document: bool) -> str:
    text = visible(text)
    if how == "all":
        text = markup.without_hidden(text, document=document)
    if "]:" in text:
        text = _REFERENCE.sub("", text)
    if how == "all" and "%%" in text:
        text = _DIAGRAM.sub(lambda found: _REMARK.sub("", found[0]), text)
    return text


def _literal(found: re.Match[str], how: Cleaning, depth: int) -> str:
    """A string of JSON, cleaned; as it was when it is none, or nothing was found in it."""
    raw = found[0]
    if not _SUSPECT.search(raw):
        return raw
    whole = found["end"] is not None
    try:
        said = json.loads(raw if whole else _BROKEN.sub("", raw) + '"', strict=False)
    except ValueError:
        return raw
    text = _cleaned(said, how, depth)
    if text == said:
        return raw
    quoted = json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)
    return quoted if whole else quoted[:-1]


def _begins_as_json(text: str) -> bool:
    """Whether its quotes are those of JSON: of a whole value, of several, or of a part of one."""
    first = text[:64].lstrip()[:1]
    return first in ("{", "[") or (first == '"' and _is_json(text))


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _spelled_tag(found: re.Match[str]) -> str:
    return f"&lt;{found[1]}{'&gt;' if found[2] else ''}"


def _spelled(found: re.Match[str]) -> str:
    if found[1]:
        return f"&lt;{found[1]}&gt;"
    return f"&lt;&lt;{found[2]}&gt;&gt;" if found[2] else f"&#91;{found[3]}&#93;"


_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")
