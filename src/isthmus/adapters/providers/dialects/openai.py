"""OpenAI's chat completions and completions, as many servers speak them.

Source: OpenAI API reference, "Chat", "Completions (legacy)", "Error codes".
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from isthmus.adapters.providers._spec import Encoded, Headers, Meter, WireEvent
from isthmus.adapters.providers.dialects.failure import failed, unreadable
from isthmus.adapters.providers.dialects.infill import chat_of
from isthmus.adapters.providers.dialects.metering import meter_of
from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import (
    Chat,
    Delta,
    Finish,
    Infill,
    Message,
    ModelCall,
    Text,
    ToolResult,
    ToolUse,
    Usage,
)

ARGUMENTS_LIMIT = 4 * 1024 * 1024
TOOLS_LIMIT = 256
_STOPS = 4
_FINISH: dict[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refused",
}
_STATUS = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "invalid_request_error": 400,
    "server_error": 500,
}


class _InputDetails(Struct):
    cached_tokens: int | None = None


class _Counts(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None


class _Function(Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Step(Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    index: int = 0
    delta: _Step | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Error(Struct):
    type: str | None = None
    code: str | int | None = None


class _Chunk(Struct):
    id: str | None = None
    choices: list[_Choice] | None = None
    usage: _Counts | None = None
    error: _Error | str | None = None


class _Response(Struct):
    usage: _Counts | None = None


class _Metered(Struct):
    usage: _Counts | None = None
    response: _Response | None = None


_chunk = msgspec.json.Decoder(_Chunk)
_metered = msgspec.json.Decoder(_Metered)
_encoder = msgspec.json.Encoder()


class OpenAIDialect:
    """Implements `Dialect`.

    `own` says that the server is OpenAI's: it has parameters of its own, and no `suffix`.
    `completions` says that an Infill may go to the completions endpoint.
    """

    def __init__(self, *, own: bool, completions: bool) -> None:
        self._own = own
        self._completions = completions

    def encode(self, call: ModelCall) -> Encoded:
        """A streaming request, to chat completions or, for an Infill where it may, completions."""
        if isinstance(call.prompt, Infill) and self._completions:
            body = self._infill(call, call.prompt)
            path = "/completions"
        else:
            chat = call.prompt if isinstance(call.prompt, Chat) else chat_of(call.prompt)
            body = self._chat(call, chat)
            path = "/chat/completions"
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
        return Encoded(path, _encoder.encode(body), OpenAIDecoder())

    def _infill(self, call: ModelCall, infill: Infill) -> dict[str, object]:
        context = [f"{item.content}\n" for item in infill.context]
        body: dict[str, object] = {
            "model": call.model,
            "prompt": "".join((*context, infill.prefix)),
            "max_tokens": call.max_tokens,
        }
        if infill.suffix:
            body["suffix"] = infill.suffix
        return body | _sampling(call)

    def _chat(self, call: ModelCall, chat: Chat) -> dict[str, object]:
        body: dict[str, object] = {
            "model": call.model,
            "messages": [wire for message in chat.messages for wire in _messages(message)],
            # Servers that speak this wire know the older name; OpenAI's newer models refuse it.
            ("max_completion_tokens" if self._own else "max_tokens"): call.max_tokens,
        }
        if chat.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": tool.schema,
                    },
                }
                for tool in chat.tools
            ]
        # Reasoning models refuse every sampling parameter.
        fixed = self._own and call.model.startswith(("gpt-5", "o1", "o3", "o4"))
        return body if fixed else body | _sampling(call)

    def failure(self, status: int, headers: Headers, body: bytes) -> UpstreamFailed:
        """What an answer with an error status means."""
        error: _Error | str | None = None
        # A server of the operator's own may answer in its own words.
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            error = _chunk.decode(body).error
        return _failure(status, error, headers, body)

    def meter(self, content_type: str) -> Meter:
        """A reader of token usage for one forwarded answer."""
        return meter_of(content_type, read_usage)


@dataclass(slots=True)
class _Open:
    """A tool call under way."""

    id: str
    name: str = ""
    parts: list[str] = field(default_factory=list[str])


class OpenAIDecoder:
    """One streamed answer of either endpoint. Implements `Decoder`."""

    def __init__(self) -> None:
        self.ended = False
        self._id = ""
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self._tools: list[_Open] = []
        self._at: dict[int, _Open] = {}
        self._size = 0
        self._used_tools = False

    def feed(self, event: WireEvent) -> list[Delta]:
        """Deltas of one event. Raises UpstreamFailed on an error event or one it cannot read."""
        if event.data == b"[DONE]":
            return [self._end()]
        try:
            chunk = _chunk.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise unreadable() from error
        if chunk.error is not None:
            raise _failure(_status_of(chunk.error), chunk.error, (), event.data)
        self._id = chunk.id or self._id
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage)
        deltas: list[Delta] = []
        for choice in chunk.choices or ():
            if choice.index == 0:
                self._choice(choice, deltas)
        return deltas

    def _choice(self, choice: _Choice, deltas: list[Delta]) -> None:
        step = choice.delta
        text = choice.text if step is None else step.content or step.refusal
        if text:
            deltas.append(Delta(text=text))
        if step is not None and step.tool_calls:
            for call in step.tool_calls:
                self._call(call)
        if choice.finish_reason:
            self._finish = _FINISH.get(choice.finish_reason, "stop")
            if self._tools:
                self._close_tools(deltas)

    def _call(self, call: _Call) -> None:
        open_ = self._at.get(call.index)
        # Some servers send whole calls one after the other, all with the same index.
        if open_ is None or (call.id and call.id != open_.id):
            if len(self._tools) >= TOOLS_LIMIT:
                raise UpstreamFailed("The model asked for too many tools at once.")
            open_ = _Open(call.id or f"call_{len(self._tools)}")
            self._at[call.index] = open_
            self._tools.append(open_)
        if call.function is None:
            return
        open_.name = open_.name or call.function.name or ""
        arguments = call.function.arguments or ""
        self._size += len(arguments)
        if self._size > ARGUMENTS_LIMIT:
            raise UpstreamFailed("The model asked for a tool with arguments too large.")
        open_.parts.append(arguments)

    def _close_tools(self, deltas: list[Delta]) -> None:
        tools, self._tools, self._at = self._tools, [], {}
        for tool in tools:
            self._used_tools = True
            use = ToolUse(tool.id, tool.name, "".join(tool.parts) or "{}")
            deltas.append(Delta(tool_use=use))

    def _end(self) -> Delta:
        if self._tools:
            raise UpstreamFailed("The model's answer ended inside a tool use.")
        self.ended = True
        finish = self._finish or "stop"
        if self._used_tools and finish == "stop":
            finish = "tool_use"
        return Delta(finish=finish, usage=self._usage, message_id=self._id)


def _sampling(call: ModelCall) -> dict[str, object]:
    given: dict[str, object] = {}
    if call.temperature is not None:
        given["temperature"] = call.temperature
    if call.stop:
        given["stop"] = list(call.stop[:_STOPS])
    return given


def _messages(message: Message) -> Iterator[dict[str, object]]:
    """One message of ours as one or more of theirs: each tool result stands alone."""
    texts: list[str] = []
    calls: list[dict[str, object]] = []
    for part in message.parts:
        match part:
            case Text(text):
                texts.append(text)
            case ToolUse(id=use_id, name=name, arguments=arguments):
                function = {"name": name, "arguments": arguments}
                calls.append({"id": use_id, "type": "function", "function": function})
            case ToolResult(tool_use_id=use_id, text=text):
                yield {"role": "tool", "tool_call_id": use_id, "content": text}
    content = "".join(texts) if message.role == "assistant" else "\n\n".join(texts)
    if calls:
        yield {"role": "assistant", "content": content or None, "tool_calls": calls}
    elif content:
        yield {"role": message.role, "content": content}


def _label(error: _Error | str | None) -> str:
    if not isinstance(error, _Error):
        return ""
    return str(error.code or error.type or "")


def _status_of(error: _Error | str) -> int:
    if isinstance(error, _Error):
        if isinstance(error.code, int) and 400 <= error.code <= 599:
            return error.code
        return _STATUS.get(_label(error), _STATUS.get(error.type or "", 500))
    return 500


def _failure(
    status: int, error: _Error | str | None, headers: Headers, body: bytes
) -> UpstreamFailed:
    label = _label(error)
    failure = failed(
        status, label, headers=headers, body=body, too_long=label == "context_length_exceeded"
    )
    if label == "insufficient_quota":
        failure.retryable = False
    return failure


def _usage(counts: _Counts | None) -> Usage | None:
    """Usage of either vocabulary: chat's (prompt, completion) or responses' (input, output)."""
    if counts is None:
        return None
    details = counts.prompt_tokens_details or counts.input_tokens_details
    return Usage(
        input_tokens=max(0, counts.prompt_tokens or counts.input_tokens or 0),
        output_tokens=max(0, counts.completion_tokens or counts.output_tokens or 0),
        cache_read_tokens=max(0, (details.cached_tokens if details else None) or 0),
    )


def read_usage(document: bytes, known: Usage | None) -> Usage | None:
    """Usage of a whole answer or of one chunk; the responses API nests it in `response`."""
    try:
        told = _metered.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return known
    nested = told.response.usage if told.response is not None else None
    return _usage(told.usage) or _usage(nested) or known
