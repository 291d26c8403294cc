"""Takes the Markdown fence lines off code that arrives in pieces."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

_FENCE_LINE = re.compile(r"[ \t]*(?:`{3,}|~{3,})[^\n`]{0,60}\n?")
_HELD_CHARS = 4_000


async def without_fences(texts: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """The text line by line, less a fence line at its beginning and one at its end.

    A fence line in the middle stays: it is held back until something follows it.
    """
    began = False
    pending = held = ""
    async with aclosing(texts):
        async for text in texts:
            pending += text
            cut = pending.rfind("\n") + 1
            if not cut and len(pending) > _HELD_CHARS:
                cut = len(pending)
            lines, pending = pending[:cut], pending[cut:]
            out, held, began = _passed(held, lines, began=began)
            if out:
                yield out
    out, held, _ = _passed(held, pending, began=began)
    if out:
        yield out


def _passed(held: str, lines: str, *, began: bool) -> tuple[str, str, bool]:
    """(what may go out, what is held back, whether the text has begun)."""
    out: list[str] = []
    for line in lines.splitlines(keepends=True):
        fence = _FENCE_LINE.fullmatch(line) is not None
        if not began:
            began = bool(line.strip())
            if not fence:
                out.append(line)
        elif fence:
            out.append(held)
            held = line
        elif held and line.strip():
            out += (held, line)
            held = ""
        elif held:
            held = (held + line)[:_HELD_CHARS]
        else:
            out.append(line)
    return "".join(out), held, began
