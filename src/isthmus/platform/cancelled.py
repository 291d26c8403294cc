"""What a user saw of a turn that was stopped, for the model of the next one. Pure.

Source: agent-platform contract, section 4.9 (recovery after a stop).
"""

import json
from collections.abc import Sequence

from isthmus.platform.entries import Entry

MAX_ENTRIES = 20
MAX_BYTES = 32 * 1024


def cancelled(log: Sequence[Entry], kept: Sequence[Entry]) -> list[Entry]:
    """The words that `log` has beyond the log that is gone back to; none when it is too much."""
    if list(log[: len(kept)]) != list(kept):
        return []
    spoken = [
        {**entry, "tool_info": None}
        for entry in log[len(kept) :]
        if entry["message_type"] in ("user", "agent")
    ][:MAX_ENTRIES]
    return spoken if len(json.dumps(spoken)) <= MAX_BYTES else []


def cancelled_text(spoken: Sequence[Entry]) -> str:
    """The words as a model reads them; empty when there are none."""
    if not spoken:
        return ""
    lines = "\n".join(f"{entry['message_type']}: {entry['content']}" for entry in spoken)
    return f"The user stopped the turn before this one. What was said in it:\n{lines}\n\n"
