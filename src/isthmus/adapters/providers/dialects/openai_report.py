"""How OpenAI's endpoints, and servers like them, tell of tokens and of errors.

Source: OpenAI API reference, "Error codes", and the usage objects of "Chat" and "Responses".
"""

import re
from contextlib import suppress

import msgspec
from msgspec import Struct

from isthmus.adapters.providers._spec import Headers, WireEvent
from isthmus.adapters.providers.dialects.failure import failed
from isthmus.adapters.providers.dialects.watching import Mark, Signs
from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import Seen, Usage

_STATUS = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "invalid_request_error": 400,
    "server_error": 500,
}
_TOO_LONG = "maximum context length"
"""Many servers have no class for a prompt that is too long, but all say it in these words."""


class _InputDetails(Struct):
    cached_tokens: int | None = None


class _OutputDetails(Struct):
    reasoning_tokens: int | None = None


class Counts(Struct):
    """Tokens in either vocabulary: chat's (prompt, completion) or responses' (input, output)."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class Error(Struct):
    """What went wrong, as much of it as is understood."""

    type: str | None = None
    code: str | int | None = None
    message: str | None = None

    @property
    def label(self) -> str:
        return str(self.code or self.type or "")


class _Body(Error):
    error: Error | str | None = None


class _Response(Struct):
    usage: Counts | None = None


class _Metered(Struct):
    usage: Counts | None = None
    response: _Response | None = None


class _Part(Struct):
    delta: dict[str, object] | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Stepped(Struct):
    """An event of either API, as far as it tells content from what is around it."""

    type: str | None = None
    error: Error | str | None = None
    choices: list[_Part] | None = None


_CONTENT = ("response.completed", "response.incomplete")
_body = msgspec.json.Decoder(_Body)
_stepped = msgspec.json.Decoder(_Stepped)
_metered = msgspec.json.Decoder(_Metered)


def refusal(status: int, headers: Headers, body: bytes) -> UpstreamFailed:
    """What an answer with an error status means."""
    error: Error | str | None = None
    # A server of the operator's own may answer in its own words.
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = _body.decode(body)
        # Mistral and vLLM put the fields of the error at the top.
        error = told if told.error is None else told.error
    return _failure(status, error, headers, body)


def broken(error: Error | str, body: bytes) -> UpstreamFailed:
    """What an error inside a stream means."""
    return _failure(_status_of(error), error, (), body)


def _status_of(error: Error | str) -> int:
    if not isinstance(error, Error):
        return 500
    if isinstance(error.code, int) and 400 <= error.code <= 599:
        return error.code
    return _STATUS.get(error.label, _STATUS.get(error.type or "", 500))


def _failure(
    status: int, error: Error | str | None, headers: Headers, body: bytes
) -> UpstreamFailed:
    label, message = (error.label, error.message) if isinstance(error, Error) else ("", error)
    too_long = label == "context_length_exceeded" or (
        status == 400 and _TOO_LONG in (message or "")
    )
    return failed(status, label, message or "", headers=headers, body=body, too_long=too_long)


def usage_of(counts: Counts | None) -> Usage | None:
    """Usage as we count it; nothing below zero."""
    if counts is None:
        return None
    details = counts.prompt_tokens_details or counts.input_tokens_details
    thought = counts.completion_tokens_details or counts.output_tokens_details
    return Usage(
        input_tokens=max(0, counts.prompt_tokens or counts.input_tokens or 0),
        output_tokens=max(0, counts.completion_tokens or counts.output_tokens or 0),
        cache_read_tokens=max(0, (details.cached_tokens if details else None) or 0),
        reasoning_tokens=max(0, (thought.reasoning_tokens if thought else None) or 0),
    )


def read_usage(document: bytes, known: Usage | None) -> Usage | None:
    """Usage of a whole answer or of one chunk; the responses API nests it in `response`."""
    try:
        told = _metered.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return known
    nested = told.response.usage if told.response is not None else None
    return usage_of(told.usage) or usage_of(nested) or known


def judge(event: WireEvent) -> Seen:
    """Whether an event is content or an error; a role, and what is under way, are neither."""
    if event.data == b"[DONE]":
        return "content"
    try:
        told = _stepped.decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "error"
    kind = told.type or ""
    if told.error is not None or kind in {"error", "response.failed"}:
        return "error"
    if kind in _CONTENT or kind.endswith((".delta", ".done")):
        return "content"
    return "content" if any(_says(choice) for choice in told.choices or ()) else ""


def _says(choice: _Part) -> bool:
    """Whether a choice holds a text, a call or its end."""
    step = choice.delta or {}
    said = any(value for name, value in step.items() if name != "role")
    return bool(said or choice.text or choice.finish_reason)


_FAILED = rb'\n(?:event: ?(?:error|response\.failed)\b|data: ?\{"(?:error"|type": ?"error"))'
_ENDED = (
    rb'\n(?:data: ?(?:\[DONE\]|\{"type": ?"response\.(?:completed|incomplete)")'
    rb"|event: ?response\.(?:completed|incomplete)\b)"
)
SIGNS = Signs(
    judge,
    error=Mark(re.compile(_FAILED), (b"error", b"response.")),
    end=Mark(re.compile(_ENDED), (b"[DONE]", b"response.")),
)
