"""OpenAI's chat completions and completions, as many servers and vendors speak them.

Source: OpenAI API reference, "Chat", "Completions (legacy)".
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from isthmus.adapters.providers._spec import Encoded, Ending, Headers, Meter, Watcher, WireEvent
from isthmus.adapters.providers.dialects import responses
from isthmus.adapters.providers.dialects.failure import unreadable
from isthmus.adapters.providers.dialects.infill import chat_of
from isthmus.adapters.providers.dialects.metering import meter_of
from isthmus.adapters.providers.dialects.openai_report import (
    SIGNS,
    Counts,
    Error,
    broken,
    read_usage,
    refusal,
    usage_of,
)
from isthmus.adapters.providers.dialects.watching import watch_of
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
    Tuning,
    Usage,
)

ARGUMENTS_LIMIT = 4 * 1024 * 1024
TOOLS_LIMIT = 256
COMPLETIONS = "/completions"
_STOPS = 4
_HOLE = re.compile(r"\{(prefix|suffix)\}")
_FINISH: dict[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refused",
}


class _Function(Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Piece(Struct):
    type: str = ""
    text: str = ""


class _Step(Struct):
    # `reasoning_content` and the like stay unread: they are not part of the answer.
    content: str | list[_Piece] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    index: int = 0
    delta: _Step | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(Struct):
    id: str | None = None
    choices: list[_Choice] | None = None
    usage: Counts | None = None
    error: Error | str | None = None


class _Filled(Struct, omit_defaults=True):
    """A request of the completions endpoint: what is not given is not sent."""

    model: str
    prompt: str
    max_tokens: int
    stream: bool
    suffix: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    stream_options: Mapping[str, bool] | None = None


_COUNTS: Mapping[str, bool] = {"include_usage": True}
_chunk = msgspec.json.Decoder(_Chunk)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Manners:
    """Where one vendor's wire differs from what servers of this kind have in common.

    `newer` says that the limit of tokens has OpenAI's newer name, `responses` that reasoning
    settings go to the responses API, `counts` that usage must be asked for, `top_k` that there is
    such a setting. `path` places an endpoint by the model's name, `call_id` makes ids that the
    vendor accepts for tool calls.
    """

    newer: bool = False
    responses: bool = False
    counts: bool = True
    top_k: bool = True
    infill: str = COMPLETIONS
    named: Callable[[str], str] = str
    path: Callable[[str, str], str] = lambda path, _: path
    call_id: Callable[[str], str] = str


SERVERS = Manners()
OPENAI = Manners(newer=True, responses=True, top_k=False)


class OpenAIDialect:
    """Implements `Dialect`.

    `own` says that the server is OpenAI's; `manners` describe any other vendor. `completions` says
    that an Infill may go to the completions endpoint.
    """

    def __init__(self, *, own: bool, completions: bool, manners: Manners | None = None) -> None:
        self._manners = manners or (OPENAI if own else SERVERS)
        self._completions = completions

    def encode(self, call: ModelCall) -> Encoded:
        """A streaming request, to chat completions or, for an Infill where it may, completions."""
        manners, prompt = self._manners, call.prompt
        if isinstance(prompt, Infill) and (self._completions or call.tuning.fim_format):
            path, body = manners.infill, _encoder.encode(self._infill(call, prompt))
        else:
            chat = prompt if isinstance(prompt, Chat) else chat_of(prompt)
            if manners.responses and _reasons(call.tuning):
                return responses.encode(call, chat, sampling=not _fixed(call))
            told = {"model": manners.named(call.model)} | self._chat(call, chat)
            told["stream"] = True
            if manners.counts:
                told["stream_options"] = _COUNTS
            path, body = "/chat/completions", _encoder.encode(told)
        return Encoded(manners.path(path, call.model), body, OpenAIDecoder())

    def _infill(self, call: ModelCall, infill: Infill) -> "_Filled":
        manners, tuning = self._manners, call.tuning
        before, suffix = infill.prefix, infill.suffix or None
        if infill.context:
            before = "".join((*(f"{item.content}\n" for item in infill.context), before))
        if tuning.fim_format and manners.infill == COMPLETIONS:
            given = {"prefix": before, "suffix": infill.suffix}
            before, suffix = _HOLE.sub(lambda hole: given[hole[1]], tuning.fim_format), None
        # By position: by name it takes several times as long.
        return _Filled(
            manners.named(call.model),
            before,
            call.max_tokens,
            True,
            suffix,
            call.temperature,
            tuning.top_p,
            tuning.top_k if manners.top_k else None,
            call.stop[:_STOPS],
            _COUNTS if manners.counts else None,
        )

    def _chat(self, call: ModelCall, chat: Chat) -> dict[str, object]:
        manners, tuning = self._manners, call.tuning
        body: dict[str, object] = {
            "messages": [
                wire for message in chat.messages for wire in _messages(message, manners.call_id)
            ],
            # Servers that speak this wire know the older name; OpenAI's newer models refuse it.
            ("max_completion_tokens" if manners.newer else "max_tokens"): call.max_tokens,
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
            if chat.calls:
                body["tool_choice"] = "required"
        if tuning.effort is not None:
            body["reasoning_effort"] = tuning.effort
        if tuning.verbosity is not None and manners.newer:
            body["verbosity"] = tuning.verbosity
        return body if manners.newer and _fixed(call) else body | self._sampling(call)

    def _sampling(self, call: ModelCall) -> dict[str, object]:
        given: dict[str, object] = {"temperature": call.temperature, "top_p": call.tuning.top_p}
        if self._manners.top_k:
            given["top_k"] = call.tuning.top_k
        if call.stop:
            given["stop"] = list(call.stop[:_STOPS])
        return {name: value for name, value in given.items() if value is not None}

    def failure(self, status: int, headers: Headers, body: bytes) -> UpstreamFailed:
        """What an answer with an error status means."""
        return refusal(status, headers, body)

    def meter(self, content_type: str) -> Meter:
        """A reader of token usage for one forwarded answer."""
        return meter_of(content_type, read_usage)

    def watch(self, content_type: str) -> tuple[Watcher, Ending | None]:
        """What tells content, errors and the end of one forwarded answer."""
        return watch_of(content_type, SIGNS)


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
        self.usage: Usage | None = None
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
            raise broken(chunk.error, event.data)
        self._id = chunk.id or self._id
        if chunk.usage is not None:
            self.usage = usage_of(chunk.usage)
        deltas: list[Delta] = []
        if chunk.choices:
            for choice in chunk.choices:
                if choice.index == 0:
                    self._choice(choice, deltas)
        return deltas

    def _choice(self, choice: _Choice, deltas: list[Delta]) -> None:
        step = choice.delta
        text = choice.text if step is None else step.content or step.refusal
        if isinstance(text, list):
            text = "".join(piece.text for piece in text if piece.type == "text")
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
            self._size += len(open_.id)
            self._at[call.index] = open_
            self._tools.append(open_)
        if call.function is None:
            return
        if not open_.name:
            open_.name = call.function.name or ""
            self._size += len(open_.name)
        arguments = call.function.arguments or ""
        self._size += len(arguments)
        if self._size > ARGUMENTS_LIMIT:
            raise UpstreamFailed("The model asked for tools with arguments too large.")
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
        return Delta(finish=finish, usage=self.usage, message_id=self._id)


def _reasons(tuning: Tuning) -> bool:
    """Whether the call has settings that only the responses API has whole."""
    return (tuning.effort, tuning.summary, tuning.verbosity) != (None, None, None)


def _fixed(call: ModelCall) -> bool:
    """Whether this is a reasoning model of OpenAI's, which refuses every sampling parameter."""
    return call.model.startswith(("gpt-5", "o1", "o3", "o4"))


def _messages(message: Message, call_id: Callable[[str], str]) -> Iterator[dict[str, object]]:
    """One message of ours as one or more of theirs: each tool result stands alone."""
    texts: list[str] = []
    calls: list[dict[str, object]] = []
    for part in message.parts:
        match part:
            case Text(text):
                texts.append(text)
            case ToolUse(id=use_id, name=name, arguments=arguments):
                function = {"name": name, "arguments": arguments}
                calls.append({"id": call_id(use_id), "type": "function", "function": function})
            case ToolResult(tool_use_id=use_id, text=text):
                yield {"role": "tool", "tool_call_id": call_id(use_id), "content": text}
    content = "".join(texts) if message.role == "assistant" else "\n\n".join(texts)
    if calls:
        yield {"role": "assistant", "content": content or None, "tool_calls": calls}
    elif content:
        yield {"role": message.role, "content": content}
