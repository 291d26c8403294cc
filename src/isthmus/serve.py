"""Both listeners on one loop: start, readiness, signals, drain."""

import asyncio
import gc
import importlib
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import uvicorn
import uvloop

from isthmus.adapters.telemetry.listener import open_listener
from isthmus.app.collector import spare_the_collector
from isthmus.app.foundation import Foundation, open_foundation
from isthmus.app.gateway import open_gateway
from isthmus.app.late import Late, open_late
from isthmus.app.reload import Reloader, parts_of
from isthmus.app.reminder import remind
from isthmus.app.trim import keep_small
from isthmus.app.usage import open_usage
from isthmus.auth.bypass import bypasses
from isthmus.core.beside import beside
from isthmus.core.errors import Unavailable
from isthmus.core.events import Noted, Started, Stopping
from isthmus.edge.http.app import load_instance
from isthmus.edge.http.protocol import CorkedProtocol
from isthmus.edge.sockets import configured, create, sockets_installed
from isthmus.edge.tls import Certificate, open_certificate
from isthmus.running import Running
from isthmus.settings import GrpcSettings, HttpSettings, Settings, SettingsError, Source

if TYPE_CHECKING:  # loaded late
    from isthmus.app.backstage import Backstage
    from isthmus.app.sessions import Sessions
    from isthmus.app.stores import Stores
    from isthmus.edge.instance import InstanceDoor, InstanceServices

Announce = Callable[[Started], None]
"""Told of each listener once it answers."""

BACKLOG = 2048
KEEP_ALIVE_S = 75
LATE_S = 1.0
_NO_SOCKETS = "WebSockets and GraphQL are off: they need the extra isthmus[instance]."


class Listening(NamedTuple):
    """A listener that answers. `refuse` turns its readiness off, `retire` begins its end."""

    address: str
    refuse: Callable[[], None]
    retire: Callable[[], None]


class Signals:
    """What the operator asked for: to read the settings again, to stop, and not to wait."""

    def __init__(self) -> None:
        self.reload = asyncio.Event()
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.reason = ""

    def receive(self, number: int) -> None:
        """Note a signal."""
        if self.stop.is_set():
            self.hurry.set()
        self.reason = signal.Signals(number).name
        self.stop.set()

    async def pause(self, seconds: float) -> None:
        """Wait, unless the operator is in a hurry."""
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self.hurry.wait()
            except TimeoutError:
                return


def run(settings: Settings, source: Source, announce: Announce, since_s: float) -> None:
    """Serve until a signal, then drain. `since_s` is the monotonic time of the process's start.

    Raises SettingsError when a listener cannot be opened as it is set.
    """
    try:
        uvloop.run(_serve(settings, source, announce, since_s))
    except BaseExceptionGroup as group:
        # One listener's refusal comes inside of the groups that the others run in.
        raise _only(group) from None


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a group of one holds, however deep; else the group."""
    refusal, rest = group.split(SettingsError)
    if refusal is None or rest is not None:
        return group
    found = refusal.exceptions
    return _only(found[0]) if isinstance(found[0], BaseExceptionGroup) else found[0]


async def _serve(settings: Settings, source: Source, announce: Announce, since_s: float) -> None:
    signals = Signals()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signals.receive, number)
    loop.add_signal_handler(signal.SIGHUP, signals.reload.set)
    async with (
        open_foundation(settings) as foundation,
        beside(remind(bypasses(settings.auth), foundation.telemetry), keep_small()),
        open_late(partial(_stores, foundation)) as stores,
        open_usage(foundation, stores),
        open_late(partial(_backstage, foundation, stores)) as late,
        AsyncExitStack() as listeners,
    ):
        opened: list[Listening] = []

        def ready(transport: str, one: Listening) -> None:
            opened.append(one)
            started = Started(transport, one.address, time.monotonic() - since_s)
            foundation.telemetry.emit(started)
            announce(started)

        if "http" in settings.transports:
            http = _http(foundation, signals, late)
            ready("http", await listeners.enter_async_context(http))
        if "grpc" in settings.transports and not signals.stop.is_set():
            grpc = _grpc(foundation, signals, late)
            ready("grpc", await listeners.enter_async_context(grpc))
        spare_the_collector(settings.transports)
        async with beside(_reading(foundation, source, signals)), beside(_load_late(settings)):
            await signals.stop.wait()
        foundation.telemetry.emit(Stopping(signals.reason))
        for one in opened:
            one.refuse()
        await signals.pause(settings.drain.notice_s)
        # All at once: no client of one listener waits for the sessions of another.
        for one in opened:
            one.retire()


async def _reading(foundation: Foundation, source: Source, signals: Signals) -> None:
    """Read the settings again when asked, and keep the snapshot that `config diff` looks at."""
    parts = parts_of(foundation)

    def keep(settings: Settings) -> None:
        try:
            running.write(settings)
        except OSError as error:
            about = (("error", error.strerror or "unknown"),)
            foundation.telemetry.emit(Noted("warning", "`config diff` cannot compare", about))

    reloader = Reloader(foundation.settings, source, parts, foundation.telemetry, keep)
    running = Running(source, reloader.paths)
    try:
        await reloader.run(signals.reload)
    finally:
        running.close()


async def _load_late(settings: Settings) -> None:
    """Load what no answer should wait for, once those who waited for the start are answered."""
    await asyncio.sleep(LATE_S)
    await asyncio.to_thread(_load_the_rest, settings)
    gc.collect()
    gc.freeze()


def _load_the_rest(settings: Settings) -> None:
    importlib.import_module("isthmus.prompts.sandbox")
    if settings.instance.enabled:
        load_instance()


@asynccontextmanager
async def _stores(foundation: Foundation) -> "AsyncIterator[Stores]":
    await asyncio.to_thread(importlib.import_module, "isthmus.app.stores")
    from isthmus.app.stores import open_stores

    async with open_stores(foundation.settings, foundation.clock) as stores:
        yield stores


@asynccontextmanager
async def _backstage(foundation: Foundation, stores: "Late[Stores]") -> "AsyncIterator[Backstage]":
    # Up to two seconds of imports, in a thread: HTTP answers meanwhile.
    names = ["backstage", *(["sessions"] if "grpc" in foundation.settings.transports else [])]
    for name in names:
        await asyncio.to_thread(importlib.import_module, f"isthmus.app.{name}")
    from isthmus.app.backstage import open_backstage

    async with open_backstage(foundation, await stores.get()) as backstage:
        # As at the start: what was loaded now stays, and no collection need look at it again.
        gc.freeze()
        yield backstage


def _door(late: "Late[Backstage]") -> "InstanceDoor":
    async def door() -> "InstanceServices":
        try:
            return (await late.get()).instance
        except SettingsError as error:
            raise Unavailable("The records cannot be reached.") from error

    return door


class _Uvicorn(uvicorn.Server):
    """uvicorn that leaves signals to us and tells when it accepts."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are set already."""
        yield

    def retire(self) -> None:
        """Accept nothing any more, and end when what runs has ended."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell."""
        await super().startup(sockets)
        self.accepting.set()


@asynccontextmanager
async def _http(
    foundation: Foundation, signals: Signals, late: "Late[Backstage]"
) -> AsyncIterator[Listening]:
    settings = foundation.settings
    door = _door(late) if settings.instance.enabled else None
    if door and "grpc" in settings.transports and not sockets_installed():
        foundation.telemetry.emit(Noted("warning", _NO_SOCKETS))
    async with open_gateway(foundation, door) as services, AsyncExitStack() as stack:
        await _metrics(stack, foundation, "http", settings.http, foundation.metrics.http_page)
        certificate = await stack.enter_async_context(
            open_certificate(settings.http.tls, "http.tls", foundation.telemetry)
        )
        listening = _bind(settings.http)
        server = _Uvicorn(_configuration(settings, create(services), certificate))
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve([listening]))
            hurry = tasks.create_task(_force(server, signals))
            await server.accepting.wait()
            services.readiness.set_serving(True)
            host, port = listening.getsockname()[:2]
            scheme = "https" if settings.http.tls.enabled else "http"
            address = f"{scheme}://{host}:{port}"
            refuse = partial(services.readiness.set_serving, False)
            try:
                yield Listening(address, refuse, server.retire)
            finally:
                server.retire()
                await serving
                hurry.cancel()


async def _force(server: _Uvicorn, signals: Signals) -> None:
    await signals.hurry.wait()
    server.force_exit = True


def _configuration(
    settings: Settings, app: object, certificate: Certificate | None
) -> uvicorn.Config:
    proxies = settings.http.trusted_proxies
    config = uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType] - an ASGI application by its own name
        http=CorkedProtocol,
        **configured(settings.instance),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(settings.drain.deadline_s),
    )
    config.load()
    config.ssl = None if certificate is None else certificate.context
    return config


def _bind(settings: HttpSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        where = f"{settings.host}:{settings.port}"
        raise SettingsError(f"http.port: cannot listen on {where}: {error.strerror}") from error
    listening.setblocking(False)
    return listening


@asynccontextmanager
async def _grpc(
    foundation: Foundation, signals: Signals, late: "Late[Backstage]"
) -> AsyncIterator[Listening]:
    settings = foundation.settings
    backstage = await late.get()
    from isthmus.app.sessions import open_sessions

    if backstage.host is None:
        raise SettingsError("transports: sessions cannot run here")
    opened = open_sessions(foundation, backstage.host)
    async with opened as sessions, AsyncExitStack() as stack:
        await _metrics(stack, foundation, "grpc", settings.grpc, foundation.metrics.platform_page)
        sessions.listener.set_serving(True)
        refuse = partial(sessions.listener.set_serving, False)
        try:
            yield Listening(sessions.listener.address, refuse, sessions.host.refuse)
        finally:
            async with beside(_hurried(sessions, signals)):
                await sessions.drain(settings.drain.deadline_s)


async def _hurried(sessions: "Sessions", signals: Signals) -> None:
    await signals.hurry.wait()
    await sessions.drain(0.0)


async def _metrics(
    stack: AsyncExitStack,
    foundation: Foundation,
    group: str,
    settings: HttpSettings | GrpcSettings,
    page: Callable[[], bytes],
) -> None:
    if settings.metrics_port is not None:
        setting = f"{group}.metrics_port"
        listener = open_listener(
            settings.metrics_host,
            settings.metrics_port,
            setting,
            page,
            foundation.telemetry.drain,
        )
        await stack.enter_async_context(listener)
