"""Amazon Bedrock's Converse API: calls, streamed answers, usage, errors.

Sources: Amazon Bedrock API reference, "ConverseStream" and its data types; Amazon Bedrock user
guide, "Prompt caching for faster model inference".
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import Struct

from isthmus.adapters.providers._spec import Encoded, Ending, Headers, Meter, Watcher, WireEvent
from isthmus.adapters.providers.dialects.arguments import object_of
from isthmus.adapters.providers.dialects.failure import failed, unreadable
from isthmus.adapters.providers.dialects.infill import chat_of
from isthmus.adapters.providers.framing.eventstream import EXCEPTION
from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import (
    Chat,
    Delta,
    Finish,
    ModelCall,
    Part,
    Text,
    ToolResult,
    ToolSpec,
    ToolUse,
    Usage,
    at_once,
)

ARGUMENTS_LIMIT = 4 * 1024 * 1024
TOOLS_LIMIT = 256
LONG_MESSAGES = 3
"""From so many turns on, what stands before them is likely to be sent once more."""
_POINT: Mapping[str, object] = {"cachePoint": {"type": "default"}}
_KEEPS = re.compile(
    r"(?:^|[./])anthropic\.claude-"
    r"(?!v\d|instant|3-(?:opus|sonnet|haiku)-|3-5-sonnet-20240620)"
)
"""Models that take marks, by their ids, profiles and ARNs; every other one refuses the call.

Nova keeps prompts without marks. What an application's profile stands for, its name does not say.
"""
_FINISH: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_use",
    "guardrail_intervened": "refused",
    "content_filtered": "refused",
}
_STATUS = {
    "validationException": 400,
    "accessDeniedException": 403,
    "modelTimeoutException": 408,
    "modelStreamErrorException": 424,
    "throttlingException": 429,
    "internalServerException": 500,
    "serviceUnavailableException": 503,
}
_TOO_LONG = ("Input is too long", "prompt is too long")
_NOTHING = "(no output)"
_FORCED = ("anthropic.claude", "amazon.nova", "mistral.mistral-large")
"""Models that may be told to call a tool. Source: AWS, API reference, `ToolChoice`."""
"""Stands for a tool's empty answer: blank texts are refused."""


class _ToolStart(Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""


class _Start(Struct, rename="camel"):
    tool_use: _ToolStart | None = None


class _ToolStep(Struct):
    input: str = ""


class _Step(Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolStep | None = None


class _Counts(Struct, rename="camel"):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None


class _Event(Struct, rename="camel"):
    content_block_index: int = 0
    start: _Start | None = None
    delta: _Step | None = None
    stop_reason: str = ""
    usage: _Counts | None = None


class _Error(Struct):
    message: str = ""


_Turn: TypeAlias = tuple[str, list[Mapping[str, object]]]
"""Whose it is, and its blocks."""
_event = msgspec.json.Decoder(_Event)
_error = msgspec.json.Decoder(_Error)
_encoder = msgspec.json.Encoder()


class ConverseDialect:
    """Implements `Dialect`. `guardrail` is the configuration that every call carries, or empty."""

    def __init__(self, guardrail: Mapping[str, object]) -> None:
        self._guardrail = guardrail

    def encode(self, call: ModelCall) -> Encoded:
        """A ConverseStream request; an Infill becomes a short conversation."""
        chat = call.prompt if isinstance(call.prompt, Chat) else chat_of(call.prompt)
        turns = _turns(chat)
        keeps = len(turns) >= LONG_MESSAGES and _KEEPS.search(call.model) is not None
        if keeps:
            _mark(turns)
        body: dict[str, object] = {
            "messages": [{"role": role, "content": blocks} for role, blocks in turns],
            "inferenceConfig": _inference(call),
        }
        if system := _system(chat):
            body["system"] = [*system, _POINT] if keeps else system
        if tools := [_tool(tool) for tool in _tools(chat)]:
            kept = [*tools, _POINT] if keeps else tools
            body["toolConfig"] = {"tools": kept} | _choice(call, chat)
        if call.tuning.top_k is not None:
            body["additionalModelRequestFields"] = {"top_k": call.tuning.top_k}
        if self._guardrail:
            body["guardrailConfig"] = self._guardrail
        return Encoded(
            f"/model/{quote(call.model, safe='')}/converse-stream",
            _encoder.encode(body),
            ConverseDecoder(),
            ("accept", "application/vnd.amazon.eventstream"),
        )

    def failure(self, status: int, headers: Headers, body: bytes) -> UpstreamFailed:
        """What an answer with an error status means."""
        named = next((value for name, value in headers if name == "x-amzn-errortype"), "")
        return _failure(status, named.partition(":")[0], headers, body)

    def meter(self, _content_type: str, /) -> Meter:
        """Reads nothing: this wire is never forwarded."""
        return lambda _: None

    def watch(self, _content_type: str, /) -> tuple[Watcher, Ending | None]:
        """Sees nothing but bytes, for the same reason."""
        return at_once, None


@dataclass(slots=True)
class _Open:
    """A tool use under way."""

    id: str
    name: str
    parts: list[str] = field(default_factory=list[str])


class ConverseDecoder:
    """One streamed answer. Implements `Decoder`. Its last event is `metadata`."""

    def __init__(self) -> None:
        self.ended = False
        self.usage: Usage | None = None
        self._finish: Finish = "stop"
        self._tools: dict[int, _Open] = {}
        self._size = 0

    def feed(self, event: WireEvent) -> Iterator[Delta]:
        """Deltas of one event. Raises UpstreamFailed on an error event or one it cannot read."""
        if event.name.startswith(EXCEPTION):
            label = event.name.removeprefix(EXCEPTION)
            raise _failure(_STATUS.get(label, 500), label, (), event.data)
        try:
            told = _event.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise unreadable() from error
        match event.name:
            case "contentBlockDelta" if told.delta is not None:
                yield from self._step(told.content_block_index, told.delta)
            case "contentBlockStart" if told.start is not None and told.start.tool_use is not None:
                use = told.start.tool_use
                self._grow(len(use.tool_use_id) + len(use.name))
                self._tools[told.content_block_index] = _Open(use.tool_use_id, use.name)
            case "contentBlockStop":
                tool = self._tools.pop(told.content_block_index, None)
                if tool is not None:
                    yield Delta(tool_use=ToolUse(tool.id, tool.name, "".join(tool.parts) or "{}"))
            case "messageStop":
                self._finish = _FINISH.get(told.stop_reason, "stop")
            case "metadata":
                yield self._end(told.usage)
            case _:
                pass  # The role, and event types of later versions.

    def _step(self, index: int, step: _Step) -> Iterator[Delta]:
        # Steps of reasoning and citations have neither field.
        if step.text:
            yield Delta(text=step.text)
        elif step.tool_use is not None and (tool := self._tools.get(index)) is not None:
            self._grow(len(step.tool_use.input))
            tool.parts.append(step.tool_use.input)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > ARGUMENTS_LIMIT or len(self._tools) >= TOOLS_LIMIT:
            raise UpstreamFailed("The model asked for tools with arguments too large.")

    def _end(self, counts: _Counts | None) -> Delta:
        if self._tools:
            raise UpstreamFailed("The model's answer ended inside a tool use.")
        self.ended = True
        self.usage = _usage(counts)
        return Delta(finish=self._finish, usage=self.usage)


def _inference(call: ModelCall) -> dict[str, object]:
    given: dict[str, object] = {
        "maxTokens": call.max_tokens,
        "temperature": call.temperature,
        "topP": call.tuning.top_p,
        # Stop sequences of white space alone are refused.
        "stopSequences": [text for text in call.stop if text.strip()] or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _system(chat: Chat) -> list[Mapping[str, object]]:
    return [
        {"text": part.text}
        for message in chat.messages
        if message.role == "system"
        for part in message.parts
        if isinstance(part, Text) and part.text.strip()
    ]


def _mark(turns: Sequence[_Turn]) -> None:
    """Mark where the prompt may be kept up to: with tools and system the API takes four marks.

    The user's last turn is where the next call's prompt begins to be new, and the one before it is
    where this one's did. Below the vendor's least length a mark has no effect and no price.
    """
    for _, blocks in [turn for turn in turns if turn[0] == "user"][-2:]:
        blocks.append(_POINT)


def _turns(chat: Chat) -> list[_Turn]:
    """Turns that alternate, as the API demands: neighbours of one role become one."""
    turns: list[_Turn] = []
    for message in chat.messages:
        blocks = [block for part in message.parts if (block := _block(part)) is not None]
        if message.role == "system" or not blocks:
            continue
        if turns and turns[-1][0] == message.role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((message.role, blocks))
    # Results come first: they must follow the uses that they answer.
    return [
        (role, sorted(blocks, key=lambda block: "toolResult" not in block))
        for role, blocks in turns
    ]


def _block(part: Part) -> Mapping[str, object] | None:
    match part:
        case Text(text):
            return {"text": text} if text.strip() else None
        case ToolUse(id=use_id, name=name, arguments=arguments):
            used = {"toolUseId": use_id, "name": name, "input": object_of(arguments)}
            return {"toolUse": used}
        case ToolResult(tool_use_id=use_id, text=text, failed=failed_):
            result: dict[str, object] = {
                "toolUseId": use_id,
                "content": [{"text": text if text.strip() else _NOTHING}],
            }
            if failed_:
                result["status"] = "error"
            return {"toolResult": result}


def _choice(call: ModelCall, chat: Chat) -> dict[str, object]:
    """That a tool has to be called, where the API takes it from a model of this name."""
    forced = chat.calls and chat.tools and any(name in call.model for name in _FORCED)
    return {"toolChoice": {"any": {}}} if forced else {}


def _tools(chat: Chat) -> tuple[ToolSpec, ...]:
    """The tools; where there are none but the history uses some, those by name.

    The API refuses a history with tools when no tool is declared.
    """
    used = {
        part.name: ToolSpec(part.name, "", {"type": "object"})
        for message in chat.messages
        for part in message.parts
        if isinstance(part, ToolUse)
    }
    return chat.tools or tuple(used.values())


def _tool(tool: ToolSpec) -> Mapping[str, object]:
    told: dict[str, object] = {"name": tool.name, "inputSchema": {"json": tool.schema}}
    if tool.description.strip():
        told["description"] = tool.description
    return {"toolSpec": told}


def _failure(status: int, label: str, headers: Headers, body: bytes) -> UpstreamFailed:
    error = _Error()
    # A proxy on the way answers in its own words; the status is what counts.
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = _error.decode(body)
    # The API has no class of its own for this: the documented sentence is all there is.
    too_long = status == 400 and any(words in error.message for words in _TOO_LONG)
    return failed(status, label, error.message, headers=headers, body=body, too_long=too_long)


def _usage(counts: _Counts | None) -> Usage | None:
    """What was read from or written to the cache is counted apart there, and included here."""
    if counts is None:
        return None
    read = max(0, counts.cache_read_input_tokens or 0)
    write = max(0, counts.cache_write_input_tokens or 0)
    fresh = max(0, counts.input_tokens)
    return Usage(fresh + read + write, max(0, counts.output_tokens), read, write)
