"""Every route that calls a model: how it is asked, and how its answers tell their endings."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from tests.faults.caller import Outcome
from tests.faults.vendors import DIALECTS, EVENTS
from tests.support import google
from tests.support.replay import Api, wire

Ending: TypeAlias = Literal["whole", "error", "broken"]
Body: TypeAlias = Callable[[str, bool], dict[str, Any]]
JSON = "application/json"
UPSTREAM = "http://upstream.test"
"""Stands in a body for the address of the vendor."""
_VECTORS = (
    b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,1]},'
    b'{"object":"embedding","index":1,"embedding":[0.25,0]}],"model":"bge-small",'
    b'"usage":{"prompt_tokens":6,"total_tokens":6}}'
)


_PREDICTED = (
    b'{"predictions":[{"embeddings":{"values":[0.5,1],"statistics":{"token_count":3}}},'
    b'{"embeddings":{"values":[0.25,0],"statistics":{"token_count":3}}}]}'
)


@dataclass(frozen=True)
class Route:
    """`body` makes a request for a case, streamed or not; `text` is what an answer says."""

    name: str
    path: str
    streamed: bool
    body: Body
    dialects: tuple[str, ...]
    text: Callable[[bytes], str]
    ended: Callable[[bytes], Ending] = lambda _: "whole"
    forwards: bool = False
    """Whether the vendor's own bytes are passed through."""
    wire: tuple[Api, str, str] | None = None
    """API, case and media type of the recorded answer, where it is not the dialect's."""
    document: bytes = b""
    """The vendor's answer, where none is recorded."""

    def ending(self, outcome: Outcome) -> Ending:
        """How the answer ended, as a caller must understand it."""
        if not outcome.ended:
            return "broken"
        return "error" if outcome.status >= 400 else self.ended(outcome.body)

    def pieces(self, dialect: str) -> tuple[bytes, ...]:
        """The vendor's answer."""
        if self.document:
            return _thirds(self.document)
        if self.wire is None:
            return DIALECTS[dialect].pieces
        found = wire(*self.wire[:2])
        return found.pieces or _thirds(found.body)

    def media(self, dialect: str) -> str:
        """Its media type."""
        if self.document:
            return JSON
        return DIALECTS[dialect].media if self.wire is None else self.wire[2]


def _thirds(body: bytes) -> tuple[bytes, ...]:
    step = len(body) // 3
    return body[:step], body[step : 2 * step], body[2 * step :]


def _file(case: str) -> dict[str, str]:
    return {
        "file_name": "a.py",
        "content_above_cursor": f"# {case}\ndef add(a, b):\n    return ",
        "content_below_cursor": "\n",
    }


def _code(case: str, stream: bool) -> dict[str, Any]:
    return {"prompt_version": 1, "current_file": _file(case), "stream": stream}


def _component(kind: str) -> Body:
    def body(case: str, stream: bool) -> dict[str, Any]:
        payload = {**_file(case), "stream": stream}
        return {"prompt_components": [{"type": f"code_editor_{kind}", "payload": payload}]}

    return body


def _first_chat(case: str, stream: bool) -> dict[str, Any]:
    component = {
        "type": "prompt",
        "metadata": {"source": "rails", "version": "17.0.0"},
        "payload": {
            "content": [{"role": "user", "content": case}],
        },
    }
    return {"prompt_components": [component], "stream": stream}


def _agent(case: str, stream: bool) -> dict[str, Any]:  # noqa: ARG001 - it always streams
    return {"messages": [{"role": "user", "content": case}]}


def _prompt(case: str, stream: bool) -> dict[str, Any]:
    return {"inputs": {"diff": case}, "stream": stream}


def _messages(model: str) -> Body:
    def body(case: str, stream: bool) -> dict[str, Any]:
        return {
            "model": model,
            "stream": stream,
            "messages": [{"role": "user", "content": case}],
            "max_tokens": 9,
        }

    return body


def _input(case: str, stream: bool) -> dict[str, Any]:
    return {"model": "gpt-5", "stream": stream, "input": case}


def _gemini(case: str, stream: bool) -> dict[str, Any]:  # noqa: ARG001 - its path says so
    return {"contents": [{"role": "user", "parts": [{"text": case}]}]}


def _texts(case: str, stream: bool) -> dict[str, Any]:  # noqa: ARG001 - there is no stream
    metadata = {
        "provider": "litellm",
        "name": "embedding",
        "identifier": "openai/bge-small",
        "endpoint": f"{UPSTREAM}/v1/",
        "api_key": "k",
    }
    return {"model_metadata": metadata, "contents": [case, "two"]}


def _content(case: str, stream: bool) -> dict[str, Any]:  # noqa: ARG001 - there is no stream
    return {"content": [case, "two"], "metadata": {"identifier": "text_embedding_005_vertex"}}


def _raw(body: bytes) -> str:
    return body.decode()


def _choice(body: bytes) -> str:
    choices = json.loads(body)["choices"]
    return choices[0]["text"] if choices else ""


def _field(name: str) -> Callable[[bytes], str]:
    return lambda body: json.dumps(json.loads(body)[name])


def _lines(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines() if line.endswith(b"}")]


def _agent_text(body: bytes) -> str:
    told = (line["data"] for line in _lines(body) if line["type"] != "usage")
    return "".join(data.get("text", "") for data in told)


def _agent_end(body: bytes) -> Ending:
    kinds = [line["type"] for line in _lines(body)]
    return "error" if "error" in kinds else "whole"


def _prompt_text(body: bytes) -> str:
    return "".join(line["content"] for line in _lines(body))


def _event_text(body: bytes) -> str:
    found = re.findall(rb"event: content_chunk\r\ndata: (.*)\r\n", body)
    return "".join(json.loads(data)["choices"][0]["delta"]["content"] for data in found)


def _event_end(body: bytes) -> Ending:
    return "whole" if b"event: stream_end" in body else "broken"


ALL = tuple(DIALECTS)
TALK = tuple(name for name in ALL if name not in {"completions", "codestral"})
SOME = ("anthropic", "chat", "gemini", "bedrock")
FEW = ("anthropic", "responses")
CLAUDE, OPENAI, VERTEX = "anthropic", "chat", "gemini"
_GOOGLE = f"{google.THEIRS}/publishers/google/models"


def _both(
    name: str,
    path: str,
    body: Body,
    dialects: tuple[str, ...],
    plain: Callable[[bytes], str],
    streamed: Callable[[bytes], str] = _raw,
) -> list[Route]:
    return [
        Route(name, path, False, body, dialects, plain),
        Route(f"{name} streamed", path, True, body, dialects, streamed),
    ]


def _forwarded(
    root: str,
    path: str,
    body: Body,
    dialect: str,
    told: tuple[Api, str, str],
) -> Route:
    streamed = told[2] == EVENTS
    name = f"{root}{path.partition('?')[0][-24:]} {told[1]}"
    return Route(name, f"{root}{path}", streamed, body, (dialect,), _raw, forwards=True, wire=told)


_CLAUDE_SAYS = _messages("claude-sonnet-4-6")
_GPT_SAYS = _messages("gpt-5")
_CLAUDE_VERTEX = (
    f"{google.THEIRS}/publishers/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict"
)
_EMBED, _OURS = "/v1/embeddings/code_embeddings", "/internal/embeddings"
_PROXY, _V4 = "/v1/proxy", "/v4/code/suggestions"
ROUTES = [
    *_both("v2 completions", "/v2/code/completions", _code, ALL, _choice),
    *_both("v2 generations", "/v2/code/generations", _code, SOME, _choice),
    *_both("v3 completions", "/v3/code/completions", _component("completion"), SOME, _choice),
    *_both("v3 generations", "/v3/code/completions", _component("generation"), FEW, _choice),
    Route("v4", _V4, False, _component("generation"), FEW, _choice),
    Route("v4 streamed", _V4, True, _component("generation"), SOME, _event_text, _event_end),
    *_both("v1 chat", "/v1/chat/agent", _first_chat, (CLAUDE,), _field("response")),
    Route("v2 chat", "/v2/chat/agent", True, _agent, TALK, _agent_text, _agent_end),
    *_both("v1 prompts", "/v1/prompts/generate_commit_message", _prompt, FEW, _raw),
    *_both(
        "v2 prompts",
        "/v2/prompts/generate_commit_message",
        _prompt,
        SOME,
        _field("content"),
        _prompt_text,
    ),
    Route(_EMBED, _EMBED, False, _texts, (OPENAI,), _field("predictions"), document=_VECTORS),
    Route(_OURS, _OURS, False, _content, ("gemini",), _field("vectors"), document=_PREDICTED),
    _forwarded(_PROXY, "/anthropic/v1/messages", _CLAUDE_SAYS, CLAUDE, (CLAUDE, "text", EVENTS)),
    _forwarded(
        _PROXY, "/anthropic/v1/messages", _CLAUDE_SAYS, CLAUDE, (CLAUDE, "text_plain", JSON)
    ),
    _forwarded(
        _PROXY, "/openai/v1/chat/completions", _GPT_SAYS, OPENAI, ("openai", "text", EVENTS)
    ),
    _forwarded(
        _PROXY, "/openai/v1/chat/completions", _GPT_SAYS, OPENAI, ("openai", "text_plain", JSON)
    ),
    _forwarded(
        _PROXY, "/openai/v1/responses", _input, OPENAI, ("openai", "responses_text", EVENTS)
    ),
    _forwarded(
        _PROXY,
        f"/vertex-ai{_GOOGLE}/gemini-2.5-flash:streamGenerateContent?alt=sse",
        _gemini,
        VERTEX,
        ("vertex", "text", EVENTS),
    ),
    _forwarded(
        _PROXY,
        f"/vertex-ai{_GOOGLE}/gemini-2.5-flash:generateContent",
        _gemini,
        VERTEX,
        ("vertex", "text_plain", JSON),
    ),
    _forwarded(
        _PROXY,
        f"/vertex-ai{_CLAUDE_VERTEX}",
        _CLAUDE_SAYS,
        VERTEX,
        ("vertex", "claude_text", EVENTS),
    ),
    _forwarded(
        "/internal/proxy", "/anthropic/v1/messages", _CLAUDE_SAYS, CLAUDE, (CLAUDE, "text", EVENTS)
    ),
]


def encoded(route: Route, case: str, upstream: str) -> bytes:
    """The body of a request."""
    body = msgspec.json.encode(route.body(case, route.streamed))
    return body.replace(UPSTREAM.encode(), upstream.encode())
