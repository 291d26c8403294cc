"""A real gRPC listener around a scripted session host."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from grpc import aio
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from msgspec import Meta, Struct

from isthmus.auth.authenticate import Authenticator, AuthPolicy
from isthmus.auth.issue import SigningKey
from isthmus.contract.contract_pb2 import Action, ClientEvent
from isthmus.contract.contract_pb2_grpc import DuoWorkflowStub
from isthmus.core.identity import Caller, ClientInfo
from isthmus.edge.grpc.server import GrpcListener, PlatformServices, open_server
from isthmus.gateway.grant import Grant, Signer
from isthmus.platform.tool import Client, Tool
from isthmus.settings import GrpcSettings, PlatformSettings
from tests.support.clock import HandClock
from tests.support.session_client import FLOWS
from tests.support.sink import MemorySink
from tests.support.tokens import FixedKeys, headers_for, payload, private_key, public_of, signed

SERVICE = "gitlab-duo-workflow-service"
SCOPES = ["duo_chat", "duo_agent_platform", "complete_code"]
OWN_KEY = private_key("platform")

Script = Callable[["Opened"], AsyncGenerator[Action, None]]


@dataclass
class Opened:
    """One stream as the host saw it."""

    caller: Caller
    client: ClientInfo
    events: AsyncIterator[ClientEvent]
    seen: list[ClientEvent] = field(default_factory=list[ClientEvent])

    async def event(self) -> ClientEvent:
        event = await anext(self.events)
        self.seen.append(event)
        return event


class ScriptedHost:
    """Runs the next script for each stream; the last one again and again."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.opened: list[Opened] = []

    def open(
        self, caller: Caller, client: ClientInfo, events: AsyncIterator[ClientEvent]
    ) -> AsyncIterator[Action]:
        stream = Opened(caller, client, events)
        self.opened.append(stream)
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        return script(stream)


class Args(Struct, frozen=True):
    """Arguments of the sample tool."""

    path: Annotated[str, Meta(description="Path inside the workspace.")]
    lines: list[int] = []


async def _run(args: Args, client: Client) -> str:
    del client
    return args.path


SAMPLE = Tool("read_file", "Reads a file.", Args, _run, "read", lambda args: f"Read {args.path}")


@dataclass
class Stand:
    """The listener, a connected stub, and what was told."""

    listener: GrpcListener
    channel: aio.Channel
    sink: MemorySink

    @property
    def stub(self) -> Any:
        return DuoWorkflowStub(self.channel)

    @property
    def health(self) -> Any:
        return HealthStub(self.channel)

    @property
    def reflection(self) -> Any:
        stub: Any = ServerReflectionStub
        return stub(self.channel)


@asynccontextmanager
async def standing(
    host: ScriptedHost, *, enabled: bool = True, settings: GrpcSettings | None = None
) -> AsyncIterator[Stand]:
    """Serve on a free port, and connect."""
    clock, sink = HandClock(), MemorySink()
    keys = FixedKeys(
        public_of(private_key()),
        public_of(OWN_KEY, f"{SERVICE}_signing_key"),
        public_of(private_key("old"), f"{SERVICE}_validation_key"),
    )
    authenticator = Authenticator(keys, AuthPolicy(SERVICE, enabled=enabled), sink, clock)
    signer = Signer(SERVICE, SigningKey(OWN_KEY))
    services = PlatformServices(
        host, authenticator, Grant(signer, signer, clock, sink), [SAMPLE], FLOWS, sink
    )
    where = settings or GrpcSettings(port=0)
    async with (
        open_server(services, where, PlatformSettings()) as listener,
        aio.insecure_channel(
            listener.address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel,
    ):
        listener.set_serving(True)
        yield Stand(listener, channel, sink)


def metadata(
    changes: dict[str, str | None] | None = None, **claims: object
) -> tuple[tuple[str, str], ...]:
    """Headers of a good caller; `claims` change its token, `changes` the headers."""
    token = signed(payload(**{"aud": SERVICE, "scopes": SCOPES} | claims))
    return tuple(headers_for(token, **(changes or {})).items())
