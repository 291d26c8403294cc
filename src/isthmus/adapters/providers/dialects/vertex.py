"""Vertex AI: which publisher makes a model, where it stands, and that publisher's wire there.

Sources: Vertex AI documentation, "Generate content", "Claude models: streamRawPredict", "Mistral AI
models: rawPredict", "Text embeddings API", and the models' pages for their locations.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from isthmus.adapters.providers._spec import Encoded, Ending, Headers, Meter, Watcher, WireEvent
from isthmus.adapters.providers.dialects import (
    anthropic,
    gemini,
    openai,
    openai_report,
    vertex_embed,
)
from isthmus.adapters.providers.dialects.metering import meter_of
from isthmus.adapters.providers.dialects.watching import Signs, any_of, watch_of
from isthmus.core.errors import Rejected, UpstreamFailed
from isthmus.core.messages import ModelCall, Seen, Usage

CLAUDE_VERSION = "vertex-2023-10-16"
ELSEWHERE = "us-central1"
"""Where the models are called that the global location does not have."""


class Home(NamedTuple):
    """Who publishes the models whose names begin with `prefix`; `everywhere`: also in `global`."""

    prefix: str
    publisher: str
    everywhere: bool


HOMES = (
    Home("claude-", "anthropic", everywhere=True),
    Home("codestral", "mistralai", everywhere=False),
    Home("mistral", "mistralai", everywhere=False),
    Home("text-embedding-", "google", everywhere=False),
    Home("text-multilingual-embedding-", "google", everywhere=False),
    Home("", "google", everywhere=True),
)

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
_FORWARDED = re.compile(
    r"/v1/projects/[^/?#]+/locations/[^/?#]+"
    r"(/publishers/(?:google|anthropic)/models/[A-Za-z0-9][A-Za-z0-9._@-]*"
    r":(?:predict|serverStreamingPredict|streamRawPredict|generateContent|streamGenerateContent)"
    r"(?:\?alt=sse)?)"
)
_USAGE = (
    (b'"usageMetadata"', gemini.read_usage),
    (b'"prompt_tokens"', openai_report.read_usage),
    (b'"predictions"', vertex_embed.read_usage),
)
_anthropic = anthropic.AnthropicDialect()
_mistral = openai.OpenAIDialect(own=False, completions=True)


def home_of(model: str) -> Home:
    """The publisher of a model."""
    return next(home for home in HOMES if model.startswith(home.prefix))


def root_of(project: str, location: str) -> str:
    """What paths begin with; without a project they are those that API keys are for."""
    return f"/v1/projects/{project}/locations/{location}" if project else "/v1"


def model_path(root: str, model: str, action: str) -> str:
    """The path of an action. Raises Rejected for a name that no model has."""
    if not _MODEL.fullmatch(model):
        raise Rejected("The model's name is not one of Vertex AI's.")
    return f"{root}/publishers/{home_of(model).publisher}/models/{model}:{action}"


def forwarded(path: str, root: str) -> str | None:
    """A caller's path with our project and location in it; None when it may not be forwarded.

    Source: HTTP gateway contract, section 7.3.
    """
    match = _FORWARDED.fullmatch(path)
    return root + match[1] if match else None


class VertexDialect:
    """Implements `Dialect` for every publisher. `root` is `root_of`'s."""

    def __init__(self, root: str) -> None:
        self._root = root

    def encode(self, call: ModelCall) -> Encoded:
        """The streaming request of the model's publisher."""
        match home_of(call.model).publisher:
            case "anthropic":
                wire = _anthropic.encode(call)
                version = Raw(msgspec.json.encode(CLAUDE_VERSION))
                body = _changed(wire.body, "model", {"anthropic_version": version})
                action = "streamRawPredict"
            case "mistralai":
                # It completes text by the same endpoint, with the fields that OpenAI's has.
                wire = _mistral.encode(call)
                body = _changed(wire.body, "stream_options", {})
                action = "streamRawPredict"
            case _:
                wire = gemini.encode(call)
                body, action = wire.body, "streamGenerateContent?alt=sse"
        return replace(wire, path=model_path(self._root, call.model, action), body=body)

    def failure(self, status: int, headers: Headers, body: bytes) -> UpstreamFailed:
        """What an answer with an error status means."""
        return gemini.failure_of(status, headers, body)

    def meter(self, content_type: str) -> Meter:
        """A reader of token usage for one forwarded answer."""
        return meter_of(content_type, _read_usage)

    def watch(self, content_type: str) -> tuple[Watcher, Ending | None]:
        """What tells content, errors and the end of one forwarded answer."""
        return watch_of(content_type, _SIGNS)


def _changed(body: bytes, without: str, added: Mapping[str, Raw]) -> bytes:
    fields = msgspec.json.decode(body, type=dict[str, Raw])
    del fields[without]
    return msgspec.json.encode({**added, **fields})


def _read_usage(document: bytes, known: Usage | None) -> Usage | None:
    """Usage by the vocabulary that the document speaks."""
    for mark, read in _USAGE:
        if mark in document:
            return read(document, known)
    return anthropic.read_usage(document, known)


def _judge(event: WireEvent) -> Seen:
    """What the event is in the vocabulary that it speaks: Anthropic alone names its events."""
    if event.name:
        return anthropic.judge(event)
    mistral = event.data == b"[DONE]" or b'"choices"' in event.data
    return openai_report.judge(event) if mistral else gemini.judge(event)


_PUBLISHERS = (anthropic.SIGNS, openai_report.SIGNS, gemini.SIGNS)
_SIGNS = Signs(
    _judge,
    error=any_of(*(signs.error for signs in _PUBLISHERS)),
    end=any_of(*(signs.end for signs in _PUBLISHERS)),
)
