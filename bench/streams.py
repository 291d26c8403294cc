"""Many slow streams at once: time to the first byte and stalls, beside the upstream itself."""

import asyncio
import os
import random
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import uvloop

from bench.machine import CLIENT_CORE
from bench.report import Streams
from bench.server import isthmus
from bench.vendor import Vendor, beside, serve

TOKENS = 200
PACE_S = 0.04
CONNECTIONS = 200
STREAMS_EACH = 2
"""Every connection asks this often, at moments spread over the length of a stream."""

PATH = "/v4/code/suggestions"
BODY = (
    b'{"prompt_components":[{"type":"code_editor_completion","payload":{"file_name":"a.py",'
    b'"content_above_cursor":"def add(a, b):\\n    ","content_below_cursor":"\\n","stream":true}}]}'
)
_CHUNK = (
    b'data: {"id":"c","object":"text_completion","created":1,"model":"m","choices":'
    b'[{"text":"token ","index":0,"logprobs":null,"finish_reason":null}]}\n\n'
)
_LAST = (
    b'data: {"id":"c","object":"text_completion","created":1,"model":"m","choices":'
    b'[{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one stream looked like to its client, in seconds."""

    first_byte_s: float
    longest_gap_s: float


def measure(folder: Path) -> list[Streams]:
    """The same load on the upstream itself and on Isthmus in front of it."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CLIENT_CORE})
    try:
        return _measured(folder)
    finally:
        os.sched_setaffinity(0, cores)


def _measured(folder: Path) -> list[Streams]:
    with paced() as port:
        direct = uvloop.run(load(port, "/v1/completions", {}, b"{}"))
        with isthmus(folder, extra=settings(port)) as server:
            ours = uvloop.run(load(server.port, PATH, server.headers, BODY))
    return [_figures("direct", direct), _figures("Isthmus v4 stream", ours)]


def _figures(name: str, seen: list[Seen]) -> Streams:
    firsts = sorted(each.first_byte_s for each in seen)
    return Streams(
        name,
        len(seen),
        firsts[len(firsts) // 2] * 1e3,
        firsts[int(len(firsts) * 0.99)] * 1e3,
        max(each.longest_gap_s for each in seen) * 1e3 - PACE_S * 1e3,
    )


async def load(
    port: int, path: str, headers: dict[str, str], body: bytes, connections: int = CONNECTIONS
) -> list[Seen]:
    """Streams from so many connections, and what each of them looked like."""
    lines = [f"POST {path} HTTP/1.1", "host: bench", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    request = "\r\n".join([*lines, "", ""]).encode() + body
    spread = random.Random(7)  # noqa: S311 - the same moments in every run
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_client(port, request, spread.random() * TOKENS * PACE_S))
            for _ in range(connections)
        ]
    return [each for task in tasks for each in task.result()]


async def _client(port: int, request: bytes, wait_s: float) -> list[Seen]:
    await asyncio.sleep(wait_s)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seen = [await _stream(reader, writer, request) for _ in range(STREAMS_EACH)]
    writer.close()
    return seen


async def _stream(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> Seen:
    # Not the loop's clock, which stands still within a turn.
    began_s = perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(head.decode())
    last_s, first_s, gap_s, tail = 0.0, 0.0, 0.0, b""
    while not tail.endswith(b"0\r\n\r\n"):
        data = await reader.read(65_536)
        now_s = perf_counter()
        if not data:
            raise SystemExit("a stream broke off")
        if first_s:
            gap_s = max(gap_s, now_s - last_s)
        else:
            first_s = now_s - began_s
        last_s, tail = now_s, (tail + data)[-8:]
    return Seen(first_s, gap_s)


class _Paced(Vendor):
    """Answers every request with tokens, one at a time."""

    def asked(self) -> None:
        self.write(_HEAD + _framed(_CHUNK))
        self._later(TOKENS - 1)

    def _later(self, left: int) -> None:
        asyncio.get_running_loop().call_later(PACE_S, self._next, left)

    def _next(self, left: int) -> None:
        if left:
            self.write(_framed(_CHUNK))
            self._later(left - 1)
        else:
            self.write(_framed(_LAST) + b"0\r\n\r\n")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def settings(port: int) -> dict[str, str]:
    """Completions come from the upstream at this port."""
    return {
        "ISTHMUS_PROVIDERS__OPENAI__BASE_URL": f"http://127.0.0.1:{port}/v1",
        "ISTHMUS_PROVIDERS__OPENAI__API_KEY": "k",
        "ISTHMUS_PROVIDERS__OPENAI__COMPLETION_MODEL": "m",
        "ISTHMUS_MODELS__DEFAULTS": '{"code_completions": ["openai_compatible"]}',
    }


def paced() -> AbstractContextManager[int]:
    """A model whose answers are streams of tokens; its port."""
    return beside("bench.streams")


if __name__ == "__main__":
    serve(_Paced, int(sys.argv[2]))
