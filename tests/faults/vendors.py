"""The vocabularies that models speak, each with a recorded answer and its own error."""

from dataclasses import dataclass, field

from isthmus.routing.catalogue import Params, ProviderName, Reasoning
from tests.support.replay import Api, wire
from tests.support.vendors import VENDORS, frames

EVENTS = "text/event-stream; charset=utf-8"


NO_PARAMS = Params()


@dataclass(frozen=True)
class Dialect:
    """One vocabulary; `pieces` are a whole answer, of which the last one is the vendor's end."""

    name: str
    provider: ProviderName
    upstream: str
    api: Api
    case: str
    error: bytes
    garbage: bytes = b"data: {not json\n\n"
    media: str = EVENTS
    params: Params = NO_PARAMS
    pieces: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pieces", wire(self.api, self.case).pieces)


_CLAUDE = (
    b"event: error\n"
    b'data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
)
_CHAT = b'data: {"error":{"message":"Sorry.","type":"server_error","param":null,"code":null}}\n\n'
_RESPONSES = (
    b"event: error\n"
    b'data: {"type":"error","code":"server_error","message":"Sorry.","param":null}\n\n'
)
_GEMINI = b'data: {"error": {"code": 503, "message": "Sorry.", "status": "UNAVAILABLE"}}\n\n'
_BEDROCK = frames(b'[{"exception":"internalServerException","payload":{"message":"Sorry."}}]')[0]

DIALECTS = {
    one.name: one
    for one in (
        Dialect("anthropic", "anthropic", "claude-sonnet-4-6", "anthropic", "text", _CLAUDE),
        Dialect("chat", "openai", "gpt-4o", "openai", "text", _CHAT),
        Dialect(
            "responses",
            "openai",
            "gpt-5",
            "openai",
            "responses_text",
            _RESPONSES,
            params=Params(reasoning=Reasoning(effort="low")),
        ),
        Dialect("completions", "fireworks", "codestral-2508", "fireworks", "infill", _CHAT),
        Dialect("fireworks", "fireworks", "kimi-k3", "fireworks", "text", _CHAT),
        Dialect("mistral", "mistral", "devstral-2512", "mistral", "text", _CHAT),
        Dialect("azure", "azure", "gpt-4o", "azure", "text", _CHAT),
        Dialect("gemini", "vertex", "gemini-2.5-flash", "vertex", "text", _GEMINI),
        Dialect("vertex-claude", "vertex", "claude-sonnet-4-6", "vertex", "claude_text", _CLAUDE),
        Dialect("codestral", "vertex", "codestral-2", "vertex", "codestral_infill", _CHAT),
        Dialect(
            "bedrock",
            "bedrock",
            "global.anthropic.claude-sonnet-4-6",
            "bedrock",
            "text",
            _BEDROCK,
            garbage=b"\xff" * 64,
            media=VENDORS["bedrock"].stream_type,
        ),
    )
}
