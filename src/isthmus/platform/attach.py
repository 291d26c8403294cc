"""The user's turn as a model reads it: the words, and what was attached to them. Pure."""

import re
from collections.abc import Sequence
from html import escape

from isthmus.platform.start import Context
from isthmus.platform.truncate import truncated

_CLOSING = re.compile(r"<(\s*/\s*attached\b)", re.IGNORECASE)


def user_text(goal: str, contexts: Sequence[Context]) -> str:
    """Attachments first, each in a marked block, then the words."""
    blocks = [_block(context) for context in contexts if context.content]
    return "\n\n".join([*blocks, goal])


def _block(context: Context) -> str:
    name = f' id="{escape(context.id)}"' if context.id else ""
    content = _CLOSING.sub(r"&lt;\1", truncated(context.content))
    return f'<attached category="{escape(context.category)}"{name}>\n{content}\n</attached>'
