"""A scanner of one's own: the exchange, its bounds, and what it may do wrong."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.scan.service import MOST_CHARS, Service, ServiceScanner, windows
from isthmus.app.foundation import SystemClock
from isthmus.core.errors import Failure
from isthmus.platform.scan import Subject
from isthmus.settings import OutboundSettings
from tests.support.guide import blocks

Reply = Callable[[dict[str, Any]], bytes]


@dataclass
class Asked:
    """What the service was sent."""

    heads: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def serving(reply: Reply, timeout_s: float = 5.0) -> AsyncIterator[tuple[Any, Asked]]:
    asked = Asked()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                size = int(head.partition("content-length: ")[2].split("\r\n")[0])
                asked.heads.append(head)
                asked.bodies.append(json.loads(await reader.readexactly(size)))
                writer.write(reply(asked.bodies[-1]))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clock = SystemClock()
    async with open_client(OutboundSettings(), clock) as outbound:
        service = Service(f"http://127.0.0.1:{port}/scan", timeout_s, "t0ken")
        yield ServiceScanner(service, outbound, clock), asked
    server.close()
    await server.wait_closed()


async def test_the_exchange_of_the_guide() -> None:
    sent, answered = blocks("security", "json")
    async with serving(lambda _: answer(answered.encode())) as (scanner, asked):
        assert await scanner.scan(Subject("what a tool returned", "read_file", "user")) == (
            "override"
        )
    assert asked.bodies == [json.loads(sent)]


def finds(body: dict[str, Any]) -> bytes:
    found = "evil" in body["text"]
    return answer(json.dumps({"found": found, "rule": "a rule!" if found else ""}).encode())


async def test_a_text_is_sent_and_the_verdict_is_taken() -> None:
    async with serving(finds) as (scanner, asked):
        assert await scanner.scan(Subject("fine", "read_file", "user")) == ""
        assert await scanner.scan(Subject("evil", "mcp", "mcp")) == "a_rule_"
    assert asked.bodies == [
        {"text": "fine", "tool": "read_file", "trust": "user"},
        {"text": "evil", "tool": "mcp", "trust": "mcp"},
    ]
    assert asked.heads[0].startswith("post /scan ")
    assert "authorization: bearer t0ken" in asked.heads[0]


@pytest.mark.parametrize("at", [0, 15_998, 100_000, 239_990])
async def test_a_long_text_goes_in_windows(at: int) -> None:
    text = "x" * at + "evil" + "x" * (240_000 - at)
    async with serving(finds) as (scanner, asked):
        assert await scanner.scan(Subject(text, "read_file", "user")) == "a_rule_"
    assert all(len(body["text"]) <= 16_000 for body in asked.bodies)


def test_of_a_text_of_any_length_a_bounded_part_is_sent() -> None:
    text = "".join(chr(97 + n % 26) for n in range(MOST_CHARS * 4))
    found = windows(text)
    assert len(found) <= 20
    assert (found[0][:100], found[-1][-100:]) == (text[:100], text[-100:])
    assert windows("") == [""]
    assert windows("ab") == ["ab"]


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"", "500 No"),
        answer(b'{"found": false}', "404 No"),
        answer(b"<html>"),
        answer(b"{}"),
        answer(b'{"found": "yes"}'),
        answer(b"\xff"),
        answer(b'{"found": false, "more": "' + b"x" * 20_000 + b'"}'),
        b"nonsense\r\n\r\n",
    ],
)
async def test_an_answer_that_is_none_is_a_failure(reply: bytes) -> None:
    async with serving(lambda _: reply) as (scanner, _):
        with pytest.raises(Failure):
            await scanner.scan(Subject("evil", "read_file", "user"))


async def test_a_service_that_does_not_answer_is_a_failure() -> None:
    async with serving(lambda _: b"", 0.2) as (scanner, _):
        with pytest.raises(Failure):
            await scanner.scan(Subject("evil", "read_file", "user"))
    clock = SystemClock()
    async with open_client(OutboundSettings(), clock) as outbound:
        nobody = ServiceScanner(Service("http://127.0.0.1:9/", 0.5), outbound, clock)
        with pytest.raises(Failure):
            await nobody.scan(Subject("evil", "read_file", "user"))


def test_the_token_is_not_shown() -> None:
    assert "t0ken" not in repr(Service("http://a", 1.0, "t0ken"))
