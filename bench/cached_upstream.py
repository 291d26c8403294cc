"""Three providers of models with prompt caches, as their vendors describe them, on one port.

Anthropic and Vertex keep prefixes that end at a `cache_control` mark and have 1,024 tokens or
more; OpenAI keeps any prefix from 1,024 tokens on, in steps of 128. Each keeps its own, five
minutes from the last use, and tells in its usage what it read. A token is four characters.
Sources: Anthropic, "Prompt caching"; OpenAI, "Prompt caching" (2025).
"""

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

LEAST_TOKENS = 1024
STEP_TOKENS = 128
LIFE_S = 300.0
CHARS = 4
ANSWER = "The next part of the answer, at the length that answers have. " * 12


@dataclass(slots=True)
class Cache:
    """One provider's kept prefixes: digest -> when it ends."""

    name: str
    explicit: bool
    ends: dict[str, float] = field(default_factory=dict[str, float])

    def serve(self, blocks: list[tuple[str, bool]], now_s: float) -> tuple[int, int]:
        """Tokens of the prompt, and how many of them were read from the cache."""
        prompt = "\0".join(text for text, _ in blocks)
        read = done = 0
        so_far = hashlib.sha256()
        for length in self._lengths(blocks, len(prompt)):
            so_far.update(prompt[done:length].encode())
            done, digest = length, so_far.hexdigest()
            if self.ends.get(digest, 0.0) > now_s:
                read = length
            if not self.explicit or self._marked(blocks, length) or digest in self.ends:
                self.ends[digest] = now_s + LIFE_S
        return len(prompt) // CHARS, read // CHARS

    def _lengths(self, blocks: list[tuple[str, bool]], whole: int) -> Iterator[int]:
        if not self.explicit:
            yield from range(LEAST_TOKENS * CHARS, whole + 1, STEP_TOKENS * CHARS)
            return
        length = 0
        for text, _ in blocks:
            length += len(text) + 1
            if length - 1 >= LEAST_TOKENS * CHARS:
                yield length - 1

    def _marked(self, blocks: list[tuple[str, bool]], length: int) -> bool:
        at = -1
        for text, marked in blocks:
            at += len(text) + 1
            if at == length:
                return marked
        return False


def main() -> None:
    """Serve on the port of the first argument; a line a call goes into the file of the second."""
    log = Path(sys.argv[2])
    caches = {
        "anthropic": Cache("anthropic", explicit=True),
        "vertex": Cache("vertex", explicit=True),
        "openai": Cache("openai", explicit=False),
    }

    async def messages(request: Request) -> Response:
        vertex = "publishers" in request.url.path
        cache = caches["vertex" if vertex else "anthropic"]
        body = json.loads(await request.body())
        tokens, read = _told(log, cache, _anthropic_blocks(body))
        return PlainTextResponse(_anthropic(tokens, read), media_type="text/event-stream")

    async def chat(request: Request) -> Response:
        body = json.loads(await request.body())
        blocks = [(json.dumps(body.get("tools", [])), False)]
        blocks += [(json.dumps(message), False) for message in body["messages"]]
        tokens, read = _told(log, caches["openai"], blocks)
        return PlainTextResponse(_openai(tokens, read), media_type="text/event-stream")

    async def token(_: Request) -> Response:
        return JSONResponse({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})

    routes = [
        Route("/v1/messages", messages, methods=["POST"]),
        Route("/chat/completions", chat, methods=["POST"]),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/token", token, methods=["POST"]),
        Route("/v1/projects/{rest:path}", messages, methods=["POST"]),
    ]
    uvicorn.run(Starlette(routes=routes), port=int(sys.argv[1]), log_level="error")


def _told(log: Path, cache: Cache, blocks: list[tuple[str, bool]]) -> tuple[int, int]:
    tokens, read = cache.serve(blocks, time.monotonic())
    session = next((text for text, _ in blocks if "session-" in text), "")
    name = session[session.find("session-") :][:12]
    with log.open("a", encoding="utf-8") as stream:
        line = {"session": name, "provider": cache.name, "tokens": tokens, "read": read}
        stream.write(json.dumps(line) + "\n")
    return tokens, read


def _anthropic_blocks(body: dict[str, Any]) -> list[tuple[str, bool]]:
    head = [*body.get("tools", []), *body.get("system", [])]
    blocks = [_block("", block) for block in head]
    for message in body["messages"]:
        blocks += [_block(message["role"], block) for block in message["content"]]
    return blocks


def _block(role: str, block: dict[str, Any]) -> tuple[str, bool]:
    plain = {name: value for name, value in block.items() if name != "cache_control"}
    return role + json.dumps(plain), "cache_control" in block


def _anthropic(tokens: int, read: int) -> str:
    usage = {
        "input_tokens": tokens - read,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": 0,
        "output_tokens": 1,
    }
    message: dict[str, Any] = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
    }
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": ANSWER},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": len(ANSWER) // CHARS},
        },
        {"type": "message_stop"},
    ]
    return "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events)


def _openai(tokens: int, read: int) -> str:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    written = len(ANSWER) // CHARS
    usage = {
        "prompt_tokens": tokens,
        "completion_tokens": written,
        "total_tokens": tokens + written,
        "prompt_tokens_details": {"cached_tokens": read},
    }
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant", "content": ANSWER}, None),
        ({}, "stop"),
    ]
    chunks = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        for delta, finish in deltas
    ]
    told: list[dict[str, Any]] = [*chunks, {**head, "choices": [], "usage": usage}]
    return "".join(f"data: {json.dumps(one)}\n\n" for one in told) + "data: [DONE]\n\n"


if __name__ == "__main__":
    main()
