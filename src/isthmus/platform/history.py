"""The conversation as it is stored, and as a model gets it: estimated, trimmed, repaired. Pure.

A stored message is a JSON object with `role`: `user` (`text`), `assistant` (`text`, `tools`: a list
of `{id, name, arguments}`, `tokens`: what the provider counted for the call) or `tool` (`id`,
`text`, `failed`, and `trust` where it is to be framed). A `user`'s `id` is of a message that is
begun anew. Source: agent-platform contract, sections 5.7 and 9.6.
"""

from collections.abc import Sequence
from typing import NotRequired, TypeAlias, TypedDict

from isthmus.core import messages
from isthmus.platform.truncate import tokens
from isthmus.platform.trust import Frame

TRIM_AT = 0.7
LARGEST = 0.65
FALLBACK = 3
PLACEHOLDER = "[This message was too long for the model and was left out.]"
UNANSWERED = "The call was interrupted; it has no result."


class StoredUse(TypedDict):
    """A tool call; `fault` says what was wrong with the arguments that stood in place of `{}`.

    `spoilt`: another call of the same answer could not be made.
    """

    id: str
    name: str
    arguments: str
    fault: NotRequired[str]
    spoilt: NotRequired[bool]


class Stored(TypedDict):
    """A message of the conversation; never changed once made."""

    role: str
    text: str
    id: NotRequired[str]
    failed: NotRequired[bool]
    trust: NotRequired[str]
    tools: NotRequired[list[StoredUse]]
    tokens: NotRequired[int]


History: TypeAlias = Sequence[Stored]


def estimate(message: Stored) -> int:
    """Tokens of a message, roughly; a little is added for its frame."""
    total = tokens(message["text"]) + 4
    for use in message.get("tools", ()):
        total += tokens(use["name"]) + tokens(use["arguments"])
    return total


def used(history: History) -> int:
    """Tokens in use: the provider's last count, and an estimate of what came after it."""
    total = 0
    for message in reversed(history):
        counted = message.get("tokens", 0)
        if counted:
            return total + counted
        total += estimate(message)
    return total


def open_uses(history: History) -> list[StoredUse]:
    """Tool calls of the last model message that have no result yet."""
    answered: set[str] = set()
    for message in reversed(history):
        if message["role"] == "tool":
            answered.add(message.get("id", ""))
        elif message["role"] == "assistant":
            return [use for use in message.get("tools", []) if use["id"] not in answered]
        else:
            return []
    return []


def prompt(
    head: Sequence[messages.Message],
    history: History,
    context_tokens: int,
    frame: Frame,
    tail: Sequence[messages.Message] = (),
) -> tuple[messages.Message, ...]:
    """What a model is sent: the head with the rules, as much of the newest history as fits, a tail.

    Results of tools that it should not trust stand in the session's frame.
    """
    head = frame.ruled(head)
    parts = (part for message in (*head, *tail) for part in message.parts)
    taken = sum(tokens(part.text) for part in parts if isinstance(part, messages.Text))
    spoken: list[messages.Message] = []
    past = _spoken(trimmed(history, context_tokens - taken), frame)
    # Within the past, no two of a role follow each other.
    for message in (*head, *past[:1]):
        _join(spoken, message)
    spoken += past[1:]
    for message in tail:
        _join(spoken, message)
    return tuple(spoken)


def trimmed(history: History, context_tokens: int) -> list[Stored]:
    """The newest messages within 0.7 of the context, from a user's message on.

    A message larger than 0.65 of that is replaced by a placeholder. A tool call and its results are
    kept or left out together. When no user's message fits, the last three exchanges remain.
    """
    budget = max(int(context_tokens * TRIM_AT), 1)
    largest = int(budget * LARGEST)
    sizes = [estimate(message) for message in history]
    if sum(sizes) <= budget and max(sizes, default=0) <= largest:
        return list(history)
    kept = [
        _short(message) if size > largest else message
        for message, size in zip(history, sizes, strict=True)
    ]
    first, left = len(kept), budget
    while first > 0 and (left := left - estimate(kept[first - 1])) >= 0:
        first -= 1
    for place in range(first, len(kept)):
        if kept[place]["role"] == "user":
            return kept[place:]
    return _tail(kept)


def _tail(kept: list[Stored]) -> list[Stored]:
    """The last user's message and the last exchanges: a model cannot begin with a tool result."""
    first = max(len(kept) - FALLBACK, 0)
    while first > 0 and kept[first]["role"] == "tool":
        first -= 1
    asked = next((message for message in reversed(kept[:first]) if message["role"] == "user"), None)
    return ([asked] if asked is not None else []) + kept[first:]


def _short(message: Stored) -> Stored:
    short = message.copy()
    short["text"] = PLACEHOLDER
    if "tools" in short:
        short["tools"] = [
            {"id": use["id"], "name": use["name"], "arguments": "{}"} for use in short["tools"]
        ]
    return short


def _spoken(history: Sequence[Stored], frame: Frame) -> list[messages.Message]:
    spoken: list[messages.Message] = []
    place = 0
    while place < len(history):
        message = history[place]
        place += 1
        if message["role"] == "user":
            _add(spoken, "user", (messages.Text(message["text"]),))
        elif message["role"] == "assistant":
            results: dict[str, Stored] = {}
            while place < len(history) and history[place]["role"] == "tool":
                results[history[place].get("id", "")] = history[place]
                place += 1
            _exchange(spoken, message, results, frame)
    return spoken


def _exchange(
    spoken: list[messages.Message], said: Stored, results: dict[str, Stored], frame: Frame
) -> None:
    uses = said.get("tools", [])
    parts: list[messages.Part] = [messages.Text(said["text"])] if said["text"].strip() else []
    parts += [messages.ToolUse(use["id"], use["name"], use["arguments"]) for use in uses]
    if parts:
        _add(spoken, "assistant", tuple(parts))
    if uses:
        answers = tuple(_result(use["id"], results.get(use["id"]), frame) for use in uses)
        _add(spoken, "user", answers)


def _result(use_id: str, found: Stored | None, frame: Frame) -> messages.ToolResult:
    if found is None:
        return messages.ToolResult(use_id, UNANSWERED, failed=True)
    text, trust = found["text"], found.get("trust", "")
    if trust:
        text = frame.around(text, trust)
    return messages.ToolResult(use_id, text, failed=found.get("failed", False))


def _join(spoken: list[messages.Message], message: messages.Message) -> None:
    if message.role == "system":
        spoken.append(message)
    else:
        _add(spoken, message.role, message.parts)


def _add(
    spoken: list[messages.Message], role: messages.Role, parts: tuple[messages.Part, ...]
) -> None:
    """Append a turn; two of the same role in a row become one, which every provider takes."""
    if spoken and spoken[-1].role == role:
        spoken[-1] = messages.Message(role, spoken[-1].parts + parts)
    else:
        spoken.append(messages.Message(role, parts))
