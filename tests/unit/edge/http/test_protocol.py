"""What comes and leaves whole takes the short way; everything else looks the same to a client."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from isthmus.core.errors import ClientGone
from isthmus.edge.http.exchange import EXCHANGE, HEAD, Exchange
from isthmus.edge.http.protocol import CorkedProtocol
from tests.support.clock import HandClock

PLAIN = [(b"content-type", b"text/plain"), (b"content-length", b"2")]


class Wire(asyncio.Transport):
    """Remembers what was written, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class App:
    """Reads a body and answers it, the short way where there is one."""

    def __init__(self, headers: list[tuple[bytes, bytes]] = PLAIN) -> None:
        self.headers = headers
        self.short: list[bool] = []
        self.bodies: list[bytes] = []
        self.seen: list[Exchange] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = scope[EXCHANGE] = Exchange(scope, receive, send, HandClock())
        self.seen.append(exchange)
        body = exchange.body(scope)
        self.short.append(body is not None)
        while body is None:
            message = await exchange.receive()
            body = None if message["more_body"] else message["body"]
        self.bodies.append(body)
        sent = exchange.answer(scope, 200, self.headers, b"ok")
        self.short.append(sent)
        if not sent:
            start = {"type": "http.response.start", "status": 200, "headers": self.headers}
            await exchange.send(start)
            await exchange.send({"type": "http.response.body", "body": b"ok"})
        del scope[EXCHANGE]


def connected(app: App) -> tuple[CorkedProtocol, Wire]:
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, timeout_keep_alive=75)
    protocol, wire = CorkedProtocol(config, ServerState(), {}), Wire()
    protocol.connection_made(wire)
    return protocol, wire


def request(body: bytes = b"hi", *lines: bytes, method: bytes = b"POST") -> bytes:
    head = (method + b" / HTTP/1.1", b"host: a", b"content-length: %d" % len(body), *lines)
    return b"\r\n".join((*head, b"", body))


async def turns(wanted: Callable[[], bool] = lambda: False) -> None:
    for _ in range(20):
        if wanted():
            return
        await asyncio.sleep(0)


async def test_a_whole_request_gets_a_whole_answer_in_one_piece() -> None:
    app = App()
    protocol, wire = connected(app)
    for _ in range(2):
        protocol.data_received(request())
        await turns()
    assert app.short == [True] * 4
    assert app.bodies == [b"hi"] * 2
    answer = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n"
        b"x-process-time: 0.000000\r\nserver-timing: isthmus;dur=0.000\r\n\r\nok"
    )
    assert wire.pieces == [answer] * 2
    assert protocol.server_state.total_requests == 2


async def test_a_body_on_its_way_is_waited_for() -> None:
    app = App()
    protocol, wire = connected(app)
    whole = request(b"hello")
    protocol.data_received(whole[:-3])
    await turns()
    protocol.data_received(whole[-3:])
    await turns()
    assert app.short == [False, True]
    assert wire.pieces[0].endswith(b"ok")


@pytest.mark.parametrize(
    ("sent", "short"),
    [
        (request(b"hi", b"expect: 100-continue"), [False, True]),
        (request(b"hi", b"connection: close"), [True, False]),
        (request(b"", method=b"HEAD"), [True, False]),
        (
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            [False, True],
        ),
    ],
)
async def test_what_is_not_plain_takes_the_long_way(sent: bytes, short: list[bool]) -> None:
    app = App()
    protocol, wire = connected(app)
    protocol.data_received(sent)
    await turns()
    assert app.short == short
    text = b"".join(wire.pieces)
    assert b"HTTP/1.1 200 OK\r\n" in text
    assert text.startswith(b"HTTP/1.1 100 Continue\r\n\r\n") == (b"expect" in sent)
    assert (b"connection: close" in text and wire.closed) == (b"close" in sent)
    assert text.endswith(b"ok") != sent.startswith(b"HEAD")


class Stream(App):
    """Reads a body and answers it piece by piece, the short way where there is one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = scope[EXCHANGE] = Exchange(scope, receive, send, HandClock())
        while (await exchange.receive())["more_body"]:
            pass
        sent = exchange.begin(scope, 200, self.headers)
        self.short.append(sent)
        if not sent:
            start = {"type": "http.response.start", "status": 200, "headers": self.headers}
            await exchange.send(start)
        for piece in (b"one", b"two"):
            part = {"type": "http.response.body", "body": piece, "more_body": True}
            await exchange.send(part)
        await exchange.send({"type": "http.response.body", "body": b""})
        del scope[EXCHANGE]


STREAMED = [(b"content-type", b"text/event-stream")]


async def test_a_streamed_answer_begins_the_short_way() -> None:
    app = Stream(STREAMED)
    protocol, wire = connected(app)
    for _ in range(2):
        protocol.data_received(request())
        await turns()
    assert app.short == [True] * 2
    answer = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        b"x-process-time: 0.000000\r\nserver-timing: isthmus;dur=0.000\r\n"
        b"transfer-encoding: chunked\r\n\r\n3\r\none\r\n"
    )
    assert wire.pieces[0] == answer
    assert b"".join(wire.pieces) == (answer + b"3\r\ntwo\r\n0\r\n\r\n") * 2
    assert protocol.server_state.total_requests == 2


@pytest.mark.parametrize(
    "sent",
    [
        request(b"hi", b"connection: close"),
        request(b"", method=b"HEAD"),
        request().replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
async def test_a_stream_that_is_not_plain_takes_the_long_way(sent: bytes) -> None:
    app = Stream(STREAMED)
    protocol, wire = connected(app)
    protocol.data_received(sent)
    await turns()
    assert app.short == [False]
    assert b"".join(wire.pieces).startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream")


async def test_a_header_that_would_break_a_stream_apart_is_never_sent() -> None:
    for bad in ((b"x-one", b"a\r\nx-two: b"), (b"x-two: b\r\nx-one", b"a")):
        protocol, wire = connected(Stream([*STREAMED, bad]))
        protocol.data_received(request())
        await turns()
        text = b"".join(wire.pieces)
        assert b"x-two" not in text
        assert text.startswith(b"HTTP/1.1 500") or wire.closed


async def test_pipelined_requests_are_answered_in_order() -> None:
    app = App()
    protocol, wire = connected(app)
    protocol.data_received(request(b"1") + request(b"2") + request(b"3"))
    await turns(lambda: len(wire.pieces) == 3)
    assert app.bodies == [b"1", b"2", b"3"]
    assert b"".join(wire.pieces).count(b"HTTP/1.1 200 OK") == 3


async def test_a_client_that_reads_slowly_is_waited_for() -> None:
    app = App()
    protocol, wire = connected(app)
    protocol.pause_writing()
    protocol.data_received(request())
    await turns()
    assert wire.pieces == []
    protocol.resume_writing()
    await turns()
    assert app.short == [True, False]
    assert b"".join(wire.pieces).endswith(b"ok")


async def test_a_header_that_would_break_the_answer_apart_is_never_sent() -> None:
    app = App([*PLAIN, (b"x-one", b"a\r\nx-two: b")])
    protocol, wire = connected(app)
    protocol.data_received(request())
    await turns()
    text = b"".join(wire.pieces)
    assert b"x-two" not in text
    assert text.startswith(b"HTTP/1.1 500") or wire.closed


async def test_headers_that_repeat_are_read_once_and_any_change_is_seen() -> None:
    app = App()
    protocol, _ = connected(app)
    token = b"authorization: Bearer one"
    heads = ([token], [token, b"x-request-id: 7"], [b"authorization: Bearer two"], [token])
    for lines in heads:
        protocol.data_received(request(b"hi", *lines))
        await turns()
    first, second, third, fourth = app.seen
    assert second.sender is first.sender
    assert second.headers == {"authorization": "Bearer one", "x-request-id": "7"}
    assert "x-request-id" not in first.headers
    assert third.sender is not first.sender
    assert third.headers == {"authorization": "Bearer two"}
    assert fourth.sender is not first.sender


async def test_a_trailer_is_no_header() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await App()(scope, receive, send)

    protocol, _ = connected(App())
    protocol.app = app  # pyright: ignore[reportAttributeAccessIssue] - an ASGI application
    head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    protocol.data_received(head + b"0\r\nauthorization: Bearer x\r\n\r\n")
    await turns()
    assert scopes[0]["headers"] == [(b"transfer-encoding", b"chunked")]
    assert scopes[0][HEAD].lasting == ((b"transfer-encoding", b"chunked"),)


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    app = App()
    protocol, wire = connected(app)
    protocol.data_received(request())
    await turns()
    assert protocol.timeout_keep_alive_task is not None
    protocol.timeout_keep_alive_handler()
    assert not wire.closed
    protocol.timeout_keep_alive = 0
    protocol.data_received(request(b"hello")[:-2])
    protocol.timeout_keep_alive_handler()
    assert not wire.closed
    protocol.data_received(b"lo")
    await turns()
    protocol.timeout_keep_alive_handler()
    assert wire.closed
    protocol.connection_lost(None)
    assert protocol.timeout_keep_alive_task is None


async def test_a_lost_connection_waits_for_no_collection() -> None:
    app = App()
    protocol, wire = connected(app)
    lost = weakref.ref(protocol)
    protocol.data_received(request() + request(b"hello"))
    await turns(lambda: len(wire.pieces) == 2)
    app.seen.clear()
    gc.collect()
    gc.disable()
    try:
        protocol.connection_lost(None)
        del protocol
        await turns(lambda: lost() is None)
        assert lost() is None
    finally:
        gc.enable()


async def test_a_handler_outlives_its_connection() -> None:
    go, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, HandClock())
        await go.wait()
        assert exchange.body(scope) is None
        with pytest.raises(ClientGone):
            await exchange.receive()
        assert not exchange.answer(scope, 200, PLAIN, b"ok")
        await exchange.send({"type": "http.response.start", "status": 200, "headers": PLAIN})
        await exchange.send({"type": "http.response.body", "body": b"ok"})
        ended.set()

    protocol, wire = connected(App())
    protocol.app = app  # pyright: ignore[reportAttributeAccessIssue] - an ASGI application
    protocol.data_received(request())
    await turns()
    protocol.connection_lost(None)
    go.set()
    await turns(ended.is_set)
    assert ended.is_set()
    assert wire.pieces == []
