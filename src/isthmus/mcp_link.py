"""A client of one MCP server: its pipes or its address, its tools, and its answers, all bounded.

The library takes a second to load: whoever imports this does so only where there is a server.
"""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import httpx2
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import Client, MCPError
from mcp.client.stdio import get_default_environment
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage

from isthmus.core.errors import ToolRefused

MESSAGE_BYTES: Final = 2 * 1024 * 1024
"""Largest message that a server may send; it is parsed on the loop."""
MOST_PAGES: Final = 20
REFUSAL_CHARS: Final = 2_000
STOP_S: Final = 2.0
"""How long a program may take to end, and an address to be told that we leave."""
FAILURES: Final = (OSError, ValueError, MCPError, httpx2.HTTPError, ExceptionGroup)
"""What a server that is not there, or is not one, raises."""
_OURS: Final = frozenset({mcp_types.INVALID_PARAMS, mcp_types.METHOD_NOT_FOUND})


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is. `env` and `headers` may hold secrets, and are never shown.

    `errors` is where a program's stderr goes, as subprocesses have it; None: to ours. `proxy` is
    the URL of one for calls of `url`, "" for none, and None for what variables say.
    """

    command: str = ""
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    errors: int | None = None
    proxy: str | None = field(default=None, repr=False)
    read_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Listed:
    """A tool as its server tells of it. `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: Mapping[str, object]


class Lost(Exception):
    """A call went wrong so that the connection cannot be relied on; the text is for a model."""


async def connect(
    stack: AsyncExitStack,
    address: Address,
    context: ssl.SSLContext | None = None,
    gone: Callable[[], None] = lambda: None,
) -> Client:
    """A client that is connected until the stack ends; of the same task. Raises FAILURES.

    `context` is for TLS, None is the library's own. `gone` is called when a program's output ends.
    """
    if address.command:
        transport = _piped(address, gone)
    else:
        # Made in a thread: it loads certificates, and its library the rest of itself.
        http = await asyncio.to_thread(_http, address, context)
        await stack.enter_async_context(http)
        transport = streamable_http_client(
            address.url, http_client=http, max_sse_event_size=MESSAGE_BYTES
        )
    return await stack.enter_async_context(Client(transport, cache=None))


async def tools(client: Client, most: int) -> list[Listed]:
    """The server's tools, at most so many. Raises FAILURES."""
    found: list[Listed] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += (Listed(one.name, one.description or "", one.input_schema) for one in page.tools)
        cursor = page.next_cursor
        if not cursor or len(found) >= most:
            break
    return found[:most]


async def called(client: Client, name: str, args: dict[str, object]) -> str:
    """The text of a tool's answer. Raises ToolRefused with the server's words, or Lost."""
    params = mcp_types.CallToolRequestParams(name=name, arguments=args)
    request = mcp_types.CallToolRequest(params=params)
    try:
        # The client's own way checks answers by the server's schema, which may be meant to hurt.
        result = await client.session.send_request(request, mcp_types.CallToolResult)
    except MCPError as error:
        if error.code in _OURS:
            raise ToolRefused(error.message[:REFUSAL_CHARS]) from error
        raise Lost("The tool failed: its server does not answer as it should.") from error
    except (*FAILURES, RuntimeError) as error:
        raise Lost(f"The tool failed: {type(error).__name__}") from error
    text = "\n".join(map(_text, result.content))
    if result.is_error:
        raise ToolRefused(text or "The tool failed.")
    return text


def _text(part: object) -> str:
    match part:
        case mcp_types.TextContent(text=text):
            return text
        case mcp_types.EmbeddedResource(resource=mcp_types.TextResourceContents(text=text)):
            return text
        case mcp_types.ResourceLink(uri=uri):
            return f"[resource: {uri}]"
        case _:
            return f"[{getattr(part, 'type', 'something')}]"


def _http(address: Address, context: ssl.SSLContext | None) -> httpx2.AsyncClient:
    """Follows no redirect: the headers are for one host."""
    return _Bounded(
        headers={**address.headers, "accept-encoding": "identity"},
        timeout=httpx2.Timeout(min(address.read_s, 30.0), read=address.read_s),
        follow_redirects=False,
        verify=context or True,
        proxy=address.proxy or None,
        trust_env=address.proxy is None,
    )


class _Bounded(httpx2.AsyncClient):
    """Answers of one bounded message, or an error; of streams, the library bounds each event."""

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **how: Any
    ) -> httpx2.Response:
        if request.method == "DELETE":  # says that we leave: nothing waits long for that
            limits = dict.fromkeys(("connect", "read", "write", "pool"), STOP_S)
            request.extensions = {**request.extensions, "timeout": limits}
        try:
            reply = await super().send(request, stream=True, **how)
        except httpx2.TransportError:
            # Raised, it would end the connection, and with it the calls of others.
            return httpx2.Response(502, request=request)
        if reply.headers.get("content-encoding", "identity").strip().lower() != "identity":
            await reply.aclose()
            return httpx2.Response(502, request=request)
        events = reply.headers.get("content-type", "").lower().startswith("text/event-stream")
        if not events and isinstance(reply.stream, httpx2.AsyncByteStream):
            reply.stream = _Counted(reply.stream)
        if not stream:
            await reply.aread()
        return reply


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MESSAGE_BYTES
        try:
            async for chunk in self._inner:
                left -= len(chunk)
                if left < 0:
                    raise httpx2.StreamError("the answer is too large")
                yield chunk
        except httpx2.TransportError as error:
            raise httpx2.StreamError("the answer broke off") from error

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def _piped(
    address: Address, gone: Callable[[], None]
) -> AsyncIterator[
    tuple[
        MemoryObjectReceiveStream[SessionMessage | Exception],
        MemoryObjectSendStream[SessionMessage],
    ]
]:
    """A program of its own process group; unlike the library's, its lines are bounded."""
    process = await asyncio.create_subprocess_exec(
        address.command,
        *address.args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=address.errors,
        env=get_default_environment() | dict(address.env),
        limit=MESSAGE_BYTES,
        start_new_session=True,
    )
    received, inbox = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outbox, sent = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_read(process, received, gone))
            writing = group.create_task(_write(process, sent))
            try:
                yield inbox, outbox
            finally:
                reading.cancel()
                writing.cancel()
    finally:
        for stream in (received, inbox, outbox, sent):
            stream.close()
        await _ended(process)


async def _read(
    process: asyncio.subprocess.Process,
    received: MemoryObjectSendStream[SessionMessage | Exception],
    gone: Callable[[], None],
) -> None:
    """Lines until the output ends, or one is too long; lines that are no message are passed by."""
    parse = mcp_types.jsonrpc_message_adapter.validate_json
    with received, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, ValueError):
        while process.stdout is not None and (line := await process.stdout.readline()):
            try:
                message = parse(line, by_name=False)
            except (ValueError, RecursionError):
                continue
            await received.send(SessionMessage(message))
    gone()


async def _write(
    process: asyncio.subprocess.Process, sent: MemoryObjectReceiveStream[SessionMessage]
) -> None:
    with sent, suppress(OSError):
        async for each in sent:
            if process.stdin is None:
                return
            text = each.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(text.encode() + b"\n")
            await process.stdin.drain()


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Close its input, ask it to end, and end it; what it started goes with it."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await process.wait()
                    break
            _signal(process.pid, number)
    finally:
        _signal(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(STOP_S):
            await process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
