"""Anthropic's Messages API: calls, streamed answers, usage, errors.

Source: Anthropic API reference, "Messages", "Streaming messages" and "Errors", version 2023-06-01.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypedDict

import msgspec
from msgspec import Struct

from isthmus.adapters.providers._spec import Encoded, Ending, Headers, Meter, Watcher, WireEvent
from isthmus.adapters.providers.dialects.arguments import object_of
from isthmus.adapters.providers.dialects.failure import failed, unreadable
from isthmus.adapters.providers.dialects.infill import chat_of
from isthmus.adapters.providers.dialects.metering import meter_of
from isthmus.adapters.providers.dialects.watching import Mark, Signs, watch_of
from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import (
    Chat,
    Delta,
    Finish,
    Message,
    ModelCall,
    Part,
    Seen,
    Text,
    ToolResult,
    ToolUse,
    Usage,
)

ARGUMENTS_LIMIT = 4 * 1024 * 1024
TOOLS_LIMIT = 256
LONG_MESSAGES = 3
"""From so many messages on, what stands before them is likely to be sent once more."""

_CACHED = {"cache_control": {"type": "ephemeral"}}
_FINISH: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_use",
    "refusal": "refused",
}
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class _Counts(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Message(Struct):
    id: str = ""
    usage: _Counts | None = None


class _Block(Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    text: str = ""


class _Step(Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Error(Struct):
    type: str = ""
    message: str = ""


class _Event(Struct):
    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Step | None = None
    usage: _Counts | None = None
    error: _Error | None = None


class _Metered(Struct):
    message: _Message | None = None
    usage: _Counts | None = None


class _Turn(TypedDict):
    role: str
    content: Sequence[Mapping[str, object]]


_CONTENT = frozenset({"content_block_delta", "content_block_stop", "message_delta", "message_stop"})
_event = msgspec.json.Decoder(_Event)
_metered = msgspec.json.Decoder(_Metered)
_encoder = msgspec.json.Encoder()


class AnthropicDialect:
    """Implements `Dialect`."""

    def encode(self, call: ModelCall) -> Encoded:
        """A streaming Messages request; an Infill becomes a short conversation."""
        chat = call.prompt if isinstance(call.prompt, Chat) else chat_of(call.prompt)
        messages: list[_Turn] = [
            {"role": message.role, "content": content}
            for message in chat.messages
            if message.role != "system" and (content := _content(message))
        ]
        long = len(messages) >= LONG_MESSAGES
        if long:
            # The next call repeats all of this one's.
            last = messages[-1]
            last["content"] = _cached(last["content"])
        body: dict[str, object] = {
            "model": call.model,
            "max_tokens": call.max_tokens,
            "stream": True,
            "messages": messages,
        }
        system = [{"type": "text", "text": text} for text in _system(chat)]
        if system:
            body["system"] = _cached(system) if long else system
        if chat.tools:
            tools = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.schema}
                for tool in chat.tools
            ]
            body["tools"] = _cached(tools) if long else tools
            if chat.calls:
                body["tool_choice"] = {"type": "any"}
        body |= _sampling(call)
        # The API refuses stop sequences of white space alone.
        stop = [text for text in call.stop if text.strip()]
        if stop:
            body["stop_sequences"] = stop
        return Encoded("/v1/messages", _encoder.encode(body), AnthropicDecoder())

    def failure(self, status: int, headers: Headers, body: bytes) -> UpstreamFailed:
        """What an answer with an error status means."""
        error = _Error()
        # A proxy on the way answers in its own words; the status is what counts.
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            error = _event.decode(body).error or error
        return _failure(status, error, headers, body)

    def meter(self, content_type: str) -> Meter:
        """A reader of token usage for one forwarded answer."""
        return meter_of(content_type, read_usage)

    def watch(self, content_type: str) -> tuple[Watcher, Ending | None]:
        """What tells content, errors and the end of one forwarded answer."""
        return watch_of(content_type, SIGNS)


@dataclass(slots=True)
class _Open:
    """A content block under way."""

    id: str
    name: str
    parts: list[str] = field(default_factory=list[str])


class AnthropicDecoder:
    """One streamed message. Implements `Decoder`."""

    def __init__(self) -> None:
        self.ended = False
        self._id = ""
        self.usage: Usage | None = None
        self._finish: Finish = "stop"
        self._tools: dict[int, _Open] = {}
        self._size = 0

    def feed(self, event: WireEvent) -> Iterator[Delta]:
        """Deltas of one event. Raises UpstreamFailed on an error event or one it cannot read."""
        try:
            told = _event.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise unreadable() from error
        match told.type:
            case "content_block_delta" if told.delta is not None:
                yield from self._step(told.index, told.delta)
            case "content_block_start" if told.content_block is not None:
                yield from self._start(told.index, told.content_block)
            case "content_block_stop":
                yield from self._stop(told.index)
            case "message_start" if told.message is not None:
                self._id = told.message.id
                self.usage = _usage(told.message.usage, self.usage)
            case "message_delta":
                self.usage = _usage(told.usage, self.usage)
                reason = told.delta.stop_reason if told.delta is not None else None
                self._finish = _FINISH.get(reason or "", self._finish)
            case "message_stop":
                yield self._end()
            case "error":
                error = told.error or _Error()
                raise _failure(_STATUS.get(error.type, 500), error, (), event.data)
            case _:
                pass  # Pings, and event types of later versions.

    def _start(self, index: int, block: _Block) -> Iterator[Delta]:
        if block.type == "tool_use":
            self._grow(len(block.id) + len(block.name))
            self._tools[index] = _Open(block.id, block.name)
        elif block.type == "text" and block.text:
            yield Delta(text=block.text)

    def _step(self, index: int, step: _Step) -> Iterator[Delta]:
        if step.type == "text_delta":
            if step.text:
                yield Delta(text=step.text)
        elif step.type == "input_json_delta" and (tool := self._tools.get(index)) is not None:
            self._grow(len(step.partial_json))
            tool.parts.append(step.partial_json)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > ARGUMENTS_LIMIT or len(self._tools) >= TOOLS_LIMIT:
            raise UpstreamFailed("The model asked for tools with arguments too large.")

    def _stop(self, index: int) -> Iterator[Delta]:
        tool = self._tools.pop(index, None)
        if tool is not None:
            yield Delta(tool_use=ToolUse(tool.id, tool.name, "".join(tool.parts) or "{}"))

    def _end(self) -> Delta:
        if self._tools:
            raise UpstreamFailed("The model's answer ended inside a tool use.")
        self.ended = True
        return Delta(finish=self._finish, usage=self.usage, message_id=self._id)


def _cached(blocks: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """The same blocks, with a mark up to which the API may keep the prompt; it takes four marks.

    Below the vendor's least length it has no effect and no price.
    """
    return [*blocks[:-1], {**blocks[-1], **_CACHED}]


def _sampling(call: ModelCall) -> dict[str, object]:
    """Temperature, or else `top_p`: newer models refuse the two together."""
    given: dict[str, object] = {"top_k": call.tuning.top_k}
    if call.temperature is not None:
        given["temperature"] = call.temperature
    else:
        given["top_p"] = call.tuning.top_p
    return {name: value for name, value in given.items() if value is not None}


def _system(chat: Chat) -> Iterator[str]:
    for message in chat.messages:
        if message.role == "system":
            for part in message.parts:
                if isinstance(part, Text) and part.text.strip():
                    yield part.text


def _content(message: Message) -> list[dict[str, object]]:
    """A message's blocks. Tool results go first, as the API wants them; blank texts are refused."""
    ordered = sorted(message.parts, key=lambda part: not isinstance(part, ToolResult))
    return [block for part in ordered if (block := _block(part)) is not None]


def _block(part: Part) -> dict[str, object] | None:
    match part:
        case Text(text):
            return {"type": "text", "text": text} if text.strip() else None
        case ToolUse(id=use_id, name=name, arguments=arguments):
            return {"type": "tool_use", "id": use_id, "name": name, "input": object_of(arguments)}
        case ToolResult(tool_use_id=use_id, text=text, failed=is_error):
            block: dict[str, object] = {"type": "tool_result", "tool_use_id": use_id}
            if text.strip():
                block["content"] = text
            if is_error:
                block["is_error"] = True
            return block


def _failure(status: int, error: _Error, headers: Headers, body: bytes) -> UpstreamFailed:
    # The API has no class of its own for this: the documented sentence is all there is.
    too_long = status == 400 and error.message.startswith("prompt is too long")
    return failed(status, error.type, error.message, headers=headers, body=body, too_long=too_long)


def _usage(counts: _Counts | None, known: Usage | None) -> Usage | None:
    """Counts are cumulative; a count that is absent keeps what is known."""
    if counts is None:
        return known
    if known is None:
        # As a rule an answer counts once, and nothing below zero.
        read = counts.cache_read_input_tokens or 0
        write = counts.cache_creation_input_tokens or 0
        fresh, written = counts.input_tokens or 0, counts.output_tokens or 0
        if min(read, write, fresh, written) >= 0:
            return Usage(fresh + read + write, written, read, write)
        known = Usage()
    read = _or(counts.cache_read_input_tokens, known.cache_read_tokens)
    write = _or(counts.cache_creation_input_tokens, known.cache_write_tokens)
    fresh = known.input_tokens - known.cache_read_tokens - known.cache_write_tokens
    return Usage(
        input_tokens=_or(counts.input_tokens, fresh) + read + write,
        output_tokens=_or(counts.output_tokens, known.output_tokens),
        cache_read_tokens=read,
        cache_write_tokens=write,
    )


def _or(value: int | None, known: int) -> int:
    return known if value is None else max(0, value)


def judge(event: WireEvent) -> Seen:
    """Whether an event is content or an error; its start, empty blocks and pings are neither."""
    try:
        told = _event.decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "error"
    if told.type == "error":
        return "error"
    return "content" if told.type in _CONTENT else ""


def read_usage(document: bytes, known: Usage | None) -> Usage | None:
    """Usage of a whole message, or of one event of a stream."""
    try:
        told = _metered.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return known
    if told.message is not None:
        known = _usage(told.message.usage, known)
    return _usage(told.usage, known)


SIGNS = Signs(
    judge,
    error=Mark(re.compile(rb"\nevent: ?error\b"), (b"error",)),
    end=Mark(re.compile(rb"\nevent: ?message_stop\b"), (b"message_stop",)),
)
