"""From what a tool returned to what a model reads: cut, cleaned, and safe to be framed. Pure.

Source: agent-platform contract, section 8.2; secrets are gone already when a text comes here.
"""

from isthmus.platform import sanitise
from isthmus.platform.tool import Tool
from isthmus.platform.truncate import cut, truncated
from isthmus.platform.trust import Frame


def told(text: str, tool: Tool | None, frame: Frame) -> str:
    """What the model is told. A text of no tool is our own, and is only cut."""
    if tool is None:
        return truncated(text)
    kept = cut(text, tool.keep)
    return kept.noticed(frame.safe(sanitise.cleaned(kept.text, tool.cleaning)))
