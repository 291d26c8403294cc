"""Model providers on a real port, played from `tests/wire`, for our client and the vendors' SDKs.

It looks like the real APIs: paths, keys, content types, chunked events, error bodies.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import msgspec

from tests.support import google

WIRE = Path(__file__).resolve().parents[1] / "wire"
Api = Literal["anthropic", "openai", "vertex"]
KEY = "test-key-of-the-replay"
_PATHS: dict[Api, frozenset[str]] = {
    "anthropic": frozenset({"/v1/messages"}),
    "openai": frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"}),
    "vertex": frozenset(),
}
_PLAIN: dict[Api, dict[str, bytes]] = {
    "anthropic": {"/v1/messages/count_tokens": b'{"input_tokens":12}'},
    "openai": {
        "/v1/embeddings": b'{"object":"list","data":[{"object":"embedding","index":1,'
        b'"embedding":[0.5,1]},{"object":"embedding","index":0,"embedding":[0.25,0]}],'
        b'"model":"my-model","usage":{"prompt_tokens":6,"total_tokens":6}}'
    },
    "vertex": {},
}


@dataclass(frozen=True)
class Wire:
    """One recorded case: the answer's bytes, and the notes beside it."""

    api: Api
    name: str
    body: bytes
    events: bool
    notes: Mapping[str, object]
    request: object | None

    @property
    def status(self) -> int:
        return cast("int", self.notes.get("status", 200))

    @property
    def headers(self) -> list[tuple[str, str]]:
        pairs = cast("list[list[str]]", self.notes.get("headers", []))
        return [(name, value) for name, value in pairs]


def wire(api: Api, name: str) -> Wire:
    """Read a case."""
    notes = msgspec.json.decode(
        (WIRE / api / f"{name}.expected.json").read_bytes(), type=dict[str, object]
    )
    asked = WIRE / api / f"{name}.request.json"
    streamed = WIRE / api / f"{name}.response.sse"
    body = streamed if streamed.exists() else WIRE / api / f"{name}.response.json"
    request = msgspec.json.decode(asked.read_bytes()) if asked.exists() else None
    return Wire(api, name, body.read_bytes(), streamed.exists(), notes, request)


def names(api: Api) -> list[str]:
    """Every case of an API."""
    return sorted(path.name.split(".")[0] for path in (WIRE / api).glob("*.expected.json"))


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        return msgspec.json.decode(self.body, type=dict[str, object])


@dataclass
class Replay:
    """One API on one port. Without `play`, the answer is chosen by what the request asks for."""

    api: Api
    key: str = KEY
    port: int = 0
    requests: list[Asked] = field(default_factory=list[Asked])
    grants: list[Asked] = field(default_factory=list[Asked])
    left: int = 0
    pause_s: float = 0.0
    _queue: deque[Wire] = field(default_factory=deque[Wire])

    @property
    def base_url(self) -> str:
        """What the settings and the SDKs take as base URL."""
        suffix = "/v1" if self.api == "openai" else ""
        return f"http://127.0.0.1:{self.port}{suffix}"

    @property
    def token_url(self) -> str:
        """Where the key of Vertex AI is given out, for a service account's assertion."""
        return f"{self.base_url}/token"

    def play(self, *cases: str) -> None:
        """Answer the next requests with these cases, in order."""
        self._queue.extend(wire(self.api, case) for case in cases)

    def answer_to(self, asked: Asked) -> tuple[int, list[tuple[str, str]], bytes, bool]:
        """Status, headers, body, and whether it goes out event by event."""
        if asked.path == "/token":
            return self._grant(asked)
        if self.key and not self._known(asked):
            return self._refusal("bad_key" if self.api == "openai" else "invalid_key")
        path = asked.path.partition("?")[0]
        if asked.method == "GET" and path == "/v1/models":
            return 200, [], b'{"object":"list","data":[{"id":"my-model","object":"model"}]}', False
        if asked.method == "POST" and (plain := _PLAIN[self.api].get(path)) is not None:
            return 200, [], plain, False
        usual = self._usual(asked) if asked.method == "POST" else None
        if usual is None:
            return 404, [], self._error("not_found_error", "Not found"), False
        chosen = self._queue.popleft() if self._queue else wire(self.api, usual)
        return chosen.status, chosen.headers, chosen.body, chosen.events

    def _grant(self, asked: Asked) -> tuple[int, list[tuple[str, str]], bytes, bool]:
        self.grants.append(self.requests.pop())
        if not google.granted(asked.body, self.token_url):
            return 400, [], b'{"error":"invalid_grant","error_description":"Bad."}', False
        token = {"access_token": self.key, "expires_in": 3599, "token_type": "Bearer"}
        return 200, [], msgspec.json.encode(token), False

    def _known(self, asked: Asked) -> bool:
        # Anthropic takes its key in either header; its SDK chooses by version.
        own = self.api == "anthropic" and asked.headers.get("x-api-key") == self.key
        return own or asked.headers.get("authorization") == f"Bearer {self.key}"

    def _usual(self, asked: Asked) -> str | None:
        body = asked.json()
        if self.api == "vertex":
            return google.usual_case(asked.path, body)
        if asked.path.partition("?")[0] not in _PATHS[self.api]:
            return None
        if asked.path.endswith("/completions") and "prompt" in body:
            return "infill"
        if not body.get("stream"):
            return "text_plain"
        if body.get("tools"):
            return "tool_use" if self.api == "anthropic" else "tool_calls"
        return "text"

    def _refusal(self, case: str) -> tuple[int, list[tuple[str, str]], bytes, bool]:
        return 401, [], wire(self.api, case).body, False

    def _error(self, kind: str, message: str) -> bytes:
        error: dict[str, object] = {"type": kind, "message": message}
        if self.api == "anthropic":
            return msgspec.json.encode({"type": "error", "error": error})
        return msgspec.json.encode({"error": error | {"param": None, "code": None}})


@asynccontextmanager
async def replaying(api: Api, key: str = KEY) -> AsyncIterator[Replay]:
    """The API on a free port for as long as the context lasts. An empty key is not checked."""
    replay = Replay(api, key)

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                await _serve(replay, await _read(reader), writer)
        replay.left += 1
        with suppress(ConnectionError):
            writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    replay.port = server.sockets[0].getsockname()[1]
    try:
        yield replay
    finally:
        server.close()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, body)


async def _serve(replay: Replay, asked: Asked, writer: asyncio.StreamWriter) -> None:
    replay.requests.append(asked)
    status, headers, body, events = replay.answer_to(asked)
    kind = "text/event-stream; charset=utf-8" if events else "application/json"
    length = ("transfer-encoding", "chunked") if events else ("content-length", str(len(body)))
    lines = [f"HTTP/1.1 {status} Replayed", f"content-type: {kind}", f"{length[0]}: {length[1]}"]
    lines += ["request-id: req_replayed", "server: replay", "set-cookie: a=b"]
    lines += [f"{name}: {value}" for name, value in headers]
    writer.write("\r\n".join([*lines, "\r\n"]).encode())
    if not events:
        writer.write(body)
        await writer.drain()
        return
    gap = b"\r\n\r\n" if b"\r\n\r\n" in body else b"\n\n"
    for event in body.split(gap):
        if event:
            data = event + gap
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
            if replay.pause_s:
                await asyncio.sleep(replay.pause_s)
    writer.write(b"0\r\n\r\n")
    await writer.drain()
