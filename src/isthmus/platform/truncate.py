"""Cuts long texts before a model or a person sees them. Pure.

Source: agent-platform contract, section 8.3.
"""

import re
from dataclasses import dataclass

from isthmus.platform.tool import Keep

SHOWN_CHARS = 4096
_DEFAULT = Keep()
_TAGS = re.compile(r"<(\s*/?\s*(?:truncated_output|kept_output)\b[^<>]{0,256})>", re.IGNORECASE)
_ADVICE = (
    "Only the {part} is shown. Ask for less at once: a narrower pattern, one folder, or a range of"
    " lines."
)


def tokens(text: str) -> int:
    """A rough count: four characters a token."""
    return (len(text) + 3) // 4


@dataclass(frozen=True, slots=True)
class Cut:
    """What is kept of a text; `original_tokens` is 0 when that is all of it."""

    text: str
    original_tokens: int = 0
    tail: bool = False

    def noticed(self, text: str) -> str:
        """`text`, which is what became of the kept part, in a notice when something is missing."""
        if not self.original_tokens:
            return text
        text = _TAGS.sub(r"&lt;\1&gt;", text)
        counted = f'original_tokens="{self.original_tokens}" displayed_tokens="{tokens(text)}"'
        advice = _ADVICE.format(part="end" if self.tail else "beginning")
        return (
            f"<truncated_output {counted}>\n<kept_output>\n{text}\n</kept_output>\n{advice}\n"
            "</truncated_output>"
        )


def cut(text: str, keep: Keep) -> Cut:
    """The text, or its first (or last) part when it is longer as UTF-8 than `keep` allows."""
    if len(text) * 4 <= keep.limit_bytes:
        return Cut(text)
    data = text.encode("utf-8", "replace")
    if len(data) <= keep.limit_bytes:
        return Cut(text)
    part = data[-keep.kept_bytes :] if keep.tail else data[: keep.kept_bytes]
    return Cut(part.decode("utf-8", "ignore"), tokens(text), keep.tail)


def truncated(text: str, keep: Keep = _DEFAULT) -> str:
    """The text as it is, or what is kept of it in a notice."""
    found = cut(text, keep)
    return found.noticed(found.text)


def shown(text: str) -> str:
    """What a person sees of a tool's answer: its first 4096 characters."""
    return text[:SHOWN_CHARS]
