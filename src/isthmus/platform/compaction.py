"""When the older part of a conversation gives way to a summary of it, and what then stays. Pure.

The head of the prompt and the user's first words stay as they are, so that a provider's cache keeps
them; a tool call stays with its results. Source: agent-platform contract, sections 7.3 and 9.6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from isthmus.platform.flow import Compaction
from isthmus.platform.history import History, Stored, estimate, used
from isthmus.platform.trust import Frame

ASK: Final = (
    "The conversation has become long. Sum up what happened after the user's first message, for a"
    " colleague who goes on with the work and sees nothing else of it: what the user asked for and"
    " decided, what was done and found (with file names, commands and identifiers to the letter),"
    " what failed and why, and what is left to do. Call no tool, and answer with the summary alone."
)
_HINT: Final = "The user asked for the summary, and says what matters in it:"
DONE: Final = "The older part of this conversation was summed up."
_MOST_LEADING = 2
_LEAST = 2
"""So many messages must go, or a summary would only replace a summary."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`lead` stays, `old` gives way to a summary, `recent` stays."""

    lead: Sequence[Stored]
    old: Sequence[Stored]
    recent: Sequence[Stored]

    def compacted(self, summary: str, frame: Frame) -> list[Stored]:
        """The conversation from now on. Counts of tokens are gone: they were of a longer one."""
        said: Stored = {"role": "user", "text": frame.summary(summary)}
        return [*map(_uncounted, self.lead), said, *map(_uncounted, self.recent)]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a model is told to sum up, and what bills call it."""

    text: str = ASK
    operation: str = "compaction_auto"


AUTOMATIC: Final = Wish()


def wish(hint: str) -> Wish:
    """A user's own. `hint` may be empty, and holds nothing that could end the session's frames."""
    return Wish(f"{ASK} {_HINT} {hint}" if hint else ASK, "compaction_manual")


def plan(history: History, rules: Compaction, context_tokens: int) -> Plan | None:
    """What to sum up now; None when nothing has to be, or nothing can."""
    if len(history) <= rules.recent_messages or used(history) <= rules.at * context_tokens:
        return None
    return parts(history, rules, context_tokens)


def parts(history: History, rules: Compaction, context_tokens: int) -> Plan | None:
    """The parts of a conversation; None when too little of it is old."""
    lead = 0
    while lead < min(len(history), _MOST_LEADING) and history[lead]["role"] == "user":
        lead += 1
    first, left = len(history), min(rules.recent_tokens, int(context_tokens * rules.at / 2))
    while first > lead and len(history) - first < rules.recent_messages:
        left -= estimate(history[first - 1])
        if left < 0:
            break
        first -= 1
    first = _whole(history, lead, first)
    if first - lead < _LEAST:
        return None
    return Plan(history[:lead], history[lead:first], history[first:])


def _whole(history: History, lead: int, first: int) -> int:
    """Where the recent part begins, so that no result stands there without its call.

    The last exchange is always recent: the model has not answered it yet.
    """
    if first == len(history):
        first = max(first - 1, lead)
    while first > lead and history[first]["role"] == "tool":
        first -= 1
    return first


def _uncounted(message: Stored) -> Stored:
    if "tokens" not in message:
        return message
    bare = message.copy()
    del bare["tokens"]
    return bare
