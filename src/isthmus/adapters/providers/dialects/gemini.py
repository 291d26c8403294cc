"""Gemini's generateContent: calls, streamed answers, usage, errors, as Vertex AI speaks them.

Sources: Vertex AI API reference v1, "GenerateContentRequest", "GenerateContentResponse", "Content",
"FunctionDeclaration"; Gemini API guide, "Thought signatures"; google.rpc.Status and RetryInfo.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress

import msgspec
from msgspec import Raw, Struct

from isthmus.adapters.providers._spec import Encoded, Headers, WireEvent
from isthmus.adapters.providers.dialects.arguments import object_of
from isthmus.adapters.providers.dialects.failure import failed, unreadable
from isthmus.adapters.providers.dialects.infill import chat_of
from isthmus.adapters.providers.dialects.watching import Mark, Signs
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

TOOLS_LIMIT = 256
_STOPS = 5
_SIGNED = "gemini-3"
"""Models of this line refuse a function call of the past without the signature that came with it.
Signatures are not kept, since sessions may change their model; the guide names this stand-in."""
_UNSIGNED = "skip_thought_signature_validator"
_BROKEN = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
    }
)
_FINISH: dict[str, Finish] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "refused",
    "RECITATION": "refused",
    "LANGUAGE": "refused",
    "BLOCKLIST": "refused",
    "PROHIBITED_CONTENT": "refused",
    "SPII": "refused",
    "MODEL_ARMOR": "refused",
}
_TOO_LONG = re.compile(r"prompt is too long|.*\binput token count\b", re.DOTALL)
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


class _Counts(Struct, rename="camel"):
    prompt_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    cached_content_token_count: int = 0


class _Call(Struct):
    name: str = ""
    args: Raw = Raw(b"{}")


class _Piece(Struct, rename="camel"):
    text: str = ""
    thought: bool = False
    function_call: _Call | None = None


class _Content(Struct):
    parts: list[_Piece] = []


class _Candidate(Struct, rename="camel"):
    index: int = 0
    content: _Content | None = None
    finish_reason: str = ""


class _Feedback(Struct, rename="camel"):
    block_reason: str = ""


class _Detail(Struct, rename="camel"):
    retry_delay: str = ""


class _Error(Struct):
    """Google's, and what of Anthropic's and Mistral's errors has a place in it."""

    code: int | str | None = None
    message: str | None = None
    status: str | None = None
    type: str | None = None
    details: list[_Detail] | None = None


class _Refusal(Struct):
    error: _Error | None = None
    message: str | None = None
    type: str | None = None


class _Chunk(Struct, rename="camel"):
    response_id: str = ""
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Counts | None = None
    error: _Error | None = None


class _Metered(Struct, rename="camel"):
    usage_metadata: _Counts | None = None


_chunk = msgspec.json.Decoder(_Chunk)
_metered: msgspec.json.Decoder[_Metered | list[_Metered]] = msgspec.json.Decoder(
    _Metered | list[_Metered]
)
_refusal: msgspec.json.Decoder[_Refusal | list[_Refusal]] = msgspec.json.Decoder(
    _Refusal | list[_Refusal]
)
_encoder = msgspec.json.Encoder()


def encode(call: ModelCall) -> Encoded:
    """A generateContent request without its path; an Infill becomes a short conversation."""
    chat = call.prompt if isinstance(call.prompt, Chat) else chat_of(call.prompt)
    body: dict[str, object] = {
        "contents": _contents(chat, signed=call.model.startswith(_SIGNED)),
        "generationConfig": _config(call),
    }
    system = [
        {"text": part.text}
        for message in chat.messages
        if message.role == "system"
        for part in message.parts
        if isinstance(part, Text) and part.text.strip()
    ]
    if system:
        body["systemInstruction"] = {"parts": system}
    if chat.tools:
        declared = [
            {
                "name": tool.name,
                "description": tool.description,
                "parametersJsonSchema": tool.schema,
            }
            for tool in chat.tools
        ]
        body["tools"] = [{"functionDeclarations": declared}]
        if chat.calls:
            body["toolConfig"] = {"functionCallingConfig": {"mode": "ANY"}}
    return Encoded("", _encoder.encode(body), GeminiDecoder())


def failure_of(status: int, headers: Headers, body: bytes) -> UpstreamFailed:
    """What an answer with an error status means, whichever publisher's model was called."""
    told: _Refusal | list[_Refusal] = _Refusal()
    # A proxy on the way answers in its own words; the status is what counts.
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = _refusal.decode(body)
    first = told if isinstance(told, _Refusal) else next(iter(told), _Refusal())
    error = first.error or _Error(message=first.message, type=first.type)
    return _failure(status, error, headers, body)


def read_usage(document: bytes, known: Usage | None) -> Usage | None:
    """Usage of a whole answer, of one event, or of a stream that came as one JSON array."""
    try:
        told = _metered.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return known
    for one in told if isinstance(told, list) else [told]:
        known = _usage(one.usage_metadata, known)
    return known


def judge(event: WireEvent) -> Seen:
    """Whether an event is content or an error."""
    try:
        told = _chunk.decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "error"
    if told.error is not None:
        return "error"
    said = any(
        one.finish_reason or (one.content is not None and one.content.parts)
        for one in told.candidates or ()
    )
    return "content" if said or told.prompt_feedback is not None else ""


class GeminiDecoder:
    """One streamed answer. Implements `Decoder`.

    There is no end marker: the chunk that names why the model stopped is the last one.
    """

    def __init__(self) -> None:
        self.ended = False
        self._id = ""
        self.usage: Usage | None = None
        self._tools = 0

    def feed(self, event: WireEvent) -> Iterator[Delta]:
        """Deltas of one event. Raises UpstreamFailed on an error event or one it cannot read."""
        try:
            told = _chunk.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise unreadable() from error
        if told.error is not None:
            code = told.error.code
            status = code if isinstance(code, int) and 400 <= code <= 599 else 500
            raise _failure(status, told.error, (), event.data)
        self._id = told.response_id or self._id
        self.usage = _usage(told.usage_metadata, self.usage)
        for candidate in told.candidates or ():
            if candidate.index == 0:
                yield from self._candidate(candidate)
        if not self.ended and told.prompt_feedback and told.prompt_feedback.block_reason:
            yield self._end("refused")

    def _candidate(self, candidate: _Candidate) -> Iterator[Delta]:
        for piece in candidate.content.parts if candidate.content is not None else ():
            if piece.function_call is not None:
                yield Delta(tool_use=self._tool(piece.function_call))
            elif piece.text and not piece.thought:
                yield Delta(text=piece.text)
        reason = candidate.finish_reason
        if reason in _BROKEN:
            raise UpstreamFailed(f"The model's answer cannot be used ({reason}).", retryable=True)
        if reason and reason != "FINISH_REASON_UNSPECIFIED":
            yield self._end(_FINISH.get(reason, "stop"))

    def _tool(self, call: _Call) -> ToolUse:
        if self._tools >= TOOLS_LIMIT:
            raise UpstreamFailed("The model asked for too many tools at once.")
        # The API need not name its calls, and tells those of different answers apart by nothing.
        name = f"call_{self._id[:24]}_{self._tools}"
        self._tools += 1
        try:
            arguments = bytes(call.args).decode()
        except UnicodeDecodeError as error:
            raise unreadable() from error
        return ToolUse(name, call.name, "{}" if arguments == "null" else arguments)

    def _end(self, finish: Finish) -> Delta:
        self.ended = True
        if self._tools and finish == "stop":
            finish = "tool_use"
        return Delta(finish=finish, usage=self.usage, message_id=self._id)


def _config(call: ModelCall) -> dict[str, object]:
    tuning = call.tuning
    config: dict[str, object] = {"maxOutputTokens": call.max_tokens}
    given = (
        ("temperature", call.temperature),
        ("topP", tuning.top_p),
        ("topK", tuning.top_k),
        ("stopSequences", list(call.stop[:_STOPS]) or None),
        (
            "thinkingConfig",
            {"thinkingLevel": tuning.thinking_level.upper()} if tuning.thinking_level else None,
        ),
    )
    return config | {name: value for name, value in given if value is not None}


def _contents(chat: Chat, *, signed: bool) -> list[dict[str, object]]:
    """The turns. Those of one side in a row are one: every call wants its answers in one turn."""
    names: dict[str, str] = {}
    turns: list[tuple[str, list[Mapping[str, object]]]] = []
    for message in chat.messages:
        if message.role == "system":
            continue
        pieces = list(_pieces(message, names, signed=signed))
        role = "model" if message.role == "assistant" else "user"
        if pieces and turns and turns[-1][0] == role:
            turns[-1][1].extend(pieces)
        elif pieces:
            turns.append((role, pieces))
    # Answers to calls go first: nothing may stand between a call and its answer.
    return [
        {"role": role, "parts": sorted(pieces, key=lambda piece: "functionResponse" not in piece)}
        for role, pieces in turns
    ]


def _pieces(
    message: Message, names: dict[str, str], *, signed: bool
) -> Iterator[Mapping[str, object]]:
    for part in message.parts:
        if isinstance(part, ToolUse):
            names[part.id] = part.name
        piece = _piece(part, names)
        if piece is not None and signed and "functionCall" in piece:
            signed = False  # Of calls in parallel the first one carries it.
            piece["thoughtSignature"] = _UNSIGNED
        if piece is not None:
            yield piece


def _piece(part: Part, names: Mapping[str, str]) -> dict[str, object] | None:
    match part:
        case Text(text):
            return {"text": text} if text.strip() else None
        case ToolUse(name=name, arguments=arguments):
            return {"functionCall": {"name": name, "args": object_of(arguments)}}
        case ToolResult(tool_use_id=use_id, text=text, failed=is_error):
            response = {"error" if is_error else "output": text}
            return {"functionResponse": {"name": names.get(use_id, "tool"), "response": response}}


def _failure(status: int, error: _Error, headers: Headers, body: bytes) -> UpstreamFailed:
    # No class of its own for this in any publisher's API: the sentence is all there is.
    too_long = status == 400 and _TOO_LONG.match(error.message or "") is not None
    label, message = error.status or error.type or "", error.message or ""
    failure = failed(status, label, message, headers=headers, body=body, too_long=too_long)
    if failure.retry_after_s is None:
        for detail in error.details or ():
            if delay := _DELAY.fullmatch(detail.retry_delay):
                failure.retry_after_s = float(delay[1])
    return failure


def _usage(counts: _Counts | None, known: Usage | None) -> Usage | None:
    """Counts are of the whole answer so far. Thoughts are output that is paid for."""
    if counts is None:
        return known
    return Usage(
        input_tokens=max(0, counts.prompt_token_count) + max(0, counts.tool_use_prompt_token_count),
        output_tokens=max(0, counts.candidates_token_count) + max(0, counts.thoughts_token_count),
        cache_read_tokens=max(0, counts.cached_content_token_count),
        reasoning_tokens=max(0, counts.thoughts_token_count),
    )


SIGNS = Signs(
    judge,
    error=Mark(re.compile(rb'\ndata: ?\{\s*"error"'), (b"error",)),
    end=Mark(re.compile(rb'"(?:finish|block)Reason"'), (b'Reason"',)),
)
