"""Answers that are of no use as they are, and how often a model is asked for another one. Pure.

Source: agent-platform contract, sections 7.3 and 9.6.
"""

from typing import Final

from isthmus.platform.history import History, Stored

CUTS: Final = 5
MALFORMED: Final = 3
CUT: Final = (
    "Your answer was cut off, for it was longer than it may be. No tool was called by it. Answer"
    " anew and shorter, and spread what is long over several calls."
)


def again(message_id: str) -> Stored:
    """What a model is told of an answer that was cut off; the next one is shown in its place."""
    return {"role": "user", "text": CUT, "id": message_id}


def begun(history: History) -> str:
    """The message that the next answer takes the place of; empty for one of its own."""
    if not history or history[-1]["role"] != "user" or history[-1]["text"] != CUT:
        return ""
    return history[-1].get("id", "")


def cuts(history: History) -> int:
    """How many answers in a row were cut off just now."""
    count = 0
    for message in reversed(history):
        if message["role"] == "user" and message["text"] == CUT:
            count += 1
        elif message["role"] != "assistant":
            break
    return count


def malformed(history: History) -> int:
    """How many answers in a row had calls just now whose arguments could not be read."""
    count = 0
    for message in reversed(history):
        if message["role"] == "assistant" and any("fault" in u for u in message.get("tools", [])):
            count += 1
        elif message["role"] != "tool":
            break
    return count
