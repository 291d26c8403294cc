"""Reads what a model writes when it thinks, acts and answers by turns. Pure and incremental.

The text is `Thought: ...`, then either `Action: <tool>` and `Action Input: ...`, or
`Final Answer: ...`; each marker begins a line. Source: "ReAct: Synergizing Reasoning and Acting in
Language Models", Yao et al., 2022.
"""

import re
from typing import Literal, TypeAlias

from msgspec import Struct

from isthmus.core.messages import Finish

HELD_CHARS = 64_000
"""What a model may write before it answers; the rest is not read."""
WARNING = "The answer was stopped by a safety rule of the model's provider."
_GUARDRAIL = "guardrail_intervened"
_MARKER_CHARS = 40
_LINE = r"(?:\A|\n)[ \t]{0,16}"
_FINAL = "Final Answer:"
_ANSWER = re.compile(_LINE + _FINAL)
_OBSERVATION = re.compile(_LINE + "Observation:")
_ACTION = re.compile(_LINE + r"Action:([^\n]*)")
_INPUT = re.compile(_LINE + "Action Input:")
_NEXT = re.compile(_LINE + r"(?:Thought|Action|Action Input):")


class AnswerDelta(Struct, frozen=True, gc=False):
    """A piece of the answer; the last one says why it ended."""

    text: str
    finish_reason: str | None = None


class ToolAction(Struct, frozen=True, gc=False):
    """A tool that the caller is to run."""

    tool: str
    tool_input: str
    thought: str


class Unknown(Struct, frozen=True, gc=False):
    """A text in which neither an action nor an answer was found."""

    text: str


Event: TypeAlias = AnswerDelta | ToolAction | Unknown


class Reader:
    """Takes a model's text in any pieces; gives events, the same ones however it was cut.

    Only the cuts between deltas of the answer follow the pieces. Text after an observation that the
    model made up is not read.
    """

    def __init__(self) -> None:
        self._held = ""
        self._state: Literal["thinking", "answering", "answered", "done"] = "thinking"

    def feed(self, text: str) -> list[Event]:
        """What the next piece makes known."""
        if self._state == "thinking":
            return self._think(text)
        return self._answer(text)

    def finish(self, finish: Finish | None) -> list[Event]:
        """What the end of the text makes known. `finish` is why the model stopped."""
        reason = _GUARDRAIL if finish == "refused" else finish or "stop"
        state, self._state = self._state, "done"
        if state == "done":
            return []
        if state == "thinking" and finish != "refused":
            return _unanswered(self._held, reason)
        warning = f"\n\n{WARNING}" if state == "answered" else WARNING
        return [AnswerDelta(warning if finish == "refused" else "", reason)]

    def _think(self, text: str) -> list[Event]:
        # Only a marker that had just begun in what is held can be complete now.
        start = max(0, len(self._held) - _MARKER_CHARS)
        self._held += text
        answer = _ANSWER.search(self._held, start, HELD_CHARS)
        end = HELD_CHARS if answer is None else answer.start()
        observation = _OBSERVATION.search(self._held, start, end)
        if observation is not None:
            self._state = "done"
            return _ended(self._held[: observation.start()])
        if answer is not None:
            rest, self._held = self._held[answer.end() :], ""
            self._state = "answering"
            return self._answer(rest)
        if len(self._held) > HELD_CHARS:
            self._state = "done"
            return _ended(self._held[:HELD_CHARS])
        return []

    def _answer(self, text: str) -> list[Event]:
        if self._state == "answering":
            text = text.lstrip()
            if text:
                self._state = "answered"
        return [AnswerDelta(text)] if text and self._state != "done" else []


def _ended(text: str) -> list[Event]:
    action = _action(text)
    if action is not None:
        return [action]
    return [Unknown(text)] if text.strip() else []


def _unanswered(text: str, reason: str) -> list[Event]:
    _, marker, answer = text.partition(_FINAL)
    if marker and _action(text) is None:
        return [AnswerDelta(answer.strip()), AnswerDelta("", reason)]
    return _ended(text) or [AnswerDelta("", reason)]


def _action(text: str) -> ToolAction | None:
    action = _ACTION.search(text)
    if action is None:
        return None
    asked = _INPUT.search(text, action.end())
    tool = unescaped(action[1].strip())
    if asked is None or not tool:
        return None
    following = _NEXT.search(text, asked.end())
    end = len(text) if following is None else following.start()
    thought = text[: action.start()].strip().removeprefix("Thought:").strip()
    return ToolAction(tool, text[asked.end() : end].strip(), thought)


def unescaped(text: str) -> str:
    r"""The text without the `\_` that models write where they fear Markdown."""
    return text.replace("\\_", "_")
