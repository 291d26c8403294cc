"""Cuts long texts before a model or a person sees them. Pure.

Source: agent-platform contract, section 8.3.
"""

import re

LIMIT_BYTES = 200 * 1024
KEPT_BYTES = 100 * 1024
SHOWN_CHARS = 4096
_TAGS = re.compile(r"<(\s*/?\s*(?:truncated_output|kept_output)\b[^>]*)>", re.IGNORECASE)


def tokens(text: str) -> int:
    """A rough count: four characters a token."""
    return (len(text) + 3) // 4


def truncated(text: str) -> str:
    """`text`, or its first 100 KiB in a notice when it is longer than 200 KiB as UTF-8."""
    if len(text) * 4 <= LIMIT_BYTES:
        return text
    data = text.encode("utf-8", "replace")
    if len(data) <= LIMIT_BYTES:
        return text
    kept = _TAGS.sub(r"&lt;\1&gt;", data[:KEPT_BYTES].decode("utf-8", "ignore"))
    return (
        f'<truncated_output original_tokens="{tokens(text)}" displayed_tokens="{tokens(kept)}">\n'
        f"<kept_output>\n{kept}\n</kept_output>\n"
        "Only the beginning is shown. Ask for less at once: a narrower pattern, one folder, "
        "or a range of lines.\n</truncated_output>"
    )


def shown(text: str) -> str:
    """What a person sees of a tool's answer: its first 4096 characters."""
    return text[:SHOWN_CHARS]
