"""A platform in another process, over gRPC. Source: instance contract, 3.3; agent platform, 4.8."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc import aio

from isthmus.adapters.sessions.remote import RemoteHost, failure_of, open_remote
from isthmus.auth.authenticate import Authenticator, AuthPolicy
from isthmus.auth.issue import SigningKey
from isthmus.auth.scopes import UNIT_PRIMITIVES
from isthmus.contract.contract_pb2 import Action, ClientEvent, StartWorkflowRequest
from isthmus.core import errors
from isthmus.core.errors import Failure
from isthmus.core.identity import Caller, ClientInfo
from isthmus.edge.grpc.server import GrpcListener, PlatformServices, open_server
from isthmus.gateway.grant import Grant, Signer
from isthmus.instance.metadata import HEADER
from isthmus.platform.catalogue import Catalogue
from isthmus.settings import GrpcSettings, PlatformSettings
from tests.support.clock import HandClock
from tests.support.ports import free_port
from tests.support.relay_stand import RelayStand, ScriptedHost, Turn, notice, open_relay
from tests.support.sink import MemorySink
from tests.support.tokens import FixedKeys, private_key, public_of

SERVICE = "gitlab-duo-workflow-service"
KEY = private_key("platform")
SIGNER = Signer(SERVICE, SigningKey(KEY))
GRANT = Grant(SIGNER, SIGNER, HandClock(), MemorySink())


def mint(caller: Caller, client: ClientInfo) -> str:
    return GRANT.platform_token(caller, client, "").token


@asynccontextmanager
async def platform(host: ScriptedHost, port: int = 0) -> AsyncIterator[GrpcListener]:
    """The other process's listener, which knows our key."""
    clock, sink = HandClock(), MemorySink()
    keys = FixedKeys(public_of(KEY, f"{SERVICE}_signing_key"))
    authenticator = Authenticator(keys, AuthPolicy(SERVICE), sink, clock)
    services = PlatformServices(host, authenticator, GRANT, [], Catalogue(()), sink)
    settings = GrpcSettings(port=port)
    async with open_server(services, settings, PlatformSettings()) as listener:
        yield listener


def there(port: int) -> PlatformSettings:
    return PlatformSettings(url=f"grpc://127.0.0.1:{port}", secure=False)


@asynccontextmanager
async def apart(directory: Path) -> AsyncIterator[tuple[RelayStand, ScriptedHost]]:
    """A relay whose sessions run behind a gRPC listener."""
    far = ScriptedHost()
    async with (
        platform(far) as listener,
        open_remote(there(listener.port), mint) as host,
        open_relay(directory, host=host) as relay,
    ):
        yield relay, far


async def test_a_turn_over_grpc_is_like_one_in_this_process(tmp_path: Path) -> None:
    async with apart(tmp_path) as (relay, far):
        heard = await relay.run({"goal": "hi"}, query="project_id=acme/app")
        assert heard.statuses == ["RUNNING", "INPUT_REQUIRED"]
        assert heard.code == 1000
        turn = far.turn
        assert turn.start.goal == "hi"
        alice = relay.people.alice
        assert turn.caller.global_user_id == alice.user.global_id
        assert turn.client.get("x-gitlab-user-id") == str(alice.user.id)
        assert turn.client.get(HEADER).startswith("{")
        assert "gitlab-workhorse" in turn.client.get("user-agent")
        assert alice.token not in str(turn.client.headers)


ENDS: tuple[tuple[Exception, int, str], ...] = (
    (errors.Invalid("Unknown flow: x"), 4400, "Unknown flow: x"),
    (errors.InsufficientCredits("USAGE_QUOTA_EXCEEDED: none left"), 1008, "Insufficient"),
    (errors.Forbidden("no"), 1000, ""),
    (errors.Conflict("no"), 1000, ""),
    (errors.LimitExceeded("no", 1.0), 1000, ""),
    (errors.Interrupted("workflow execution interrupted: RUNNING"), 1001, "server shutdown"),
    (ZeroDivisionError(), 1000, ""),
)


@pytest.mark.parametrize(("failure", "code", "reason"), ENDS)
async def test_every_end_of_the_platform_closes_as_in_this_process(
    tmp_path: Path, failure: Exception, code: int, reason: str
) -> None:
    async def script(_: Turn) -> AsyncIterator[Action]:
        yield notice("RUNNING", "so far")
        raise failure

    async with apart(tmp_path) as (relay, far):
        far.script = script
        heard = await relay.run()
        assert heard.code == code
        assert heard.reason.startswith(reason)
        assert heard.statuses == (["RUNNING", "FAILED"] if code == 1000 else ["RUNNING"])


async def test_a_client_that_vanishes_cancels_the_stream(tmp_path: Path) -> None:
    async def script(_: Turn) -> AsyncIterator[Action]:
        yield notice("RUNNING", "busy")
        await asyncio.Event().wait()

    async with apart(tmp_path) as (relay, far):
        far.script = script
        async with relay.connect() as socket:
            await socket.send('{"startRequest":{"workflowID":"%s"}}' % await relay.workflow())
            await socket.recv()
            socket.transport.abort()
        await asyncio.wait_for(far.turn.closed.wait(), 10)


CALLER = Caller("instance-1", global_user_id="u", scopes=UNIT_PRIMITIVES)
CLIENT = ClientInfo(
    {
        "x-gitlab-authentication-type": "oidc",
        "x-gitlab-realm": "self-managed",
        "x-gitlab-global-user-id": "u",
        "x-gitlab-client-name": "näme",
    }
)


async def events() -> AsyncIterator[ClientEvent]:
    yield ClientEvent(startRequest=StartWorkflowRequest(workflowID="7"))
    await asyncio.Event().wait()


async def actions(host: RemoteHost) -> list[Action]:
    stream: AsyncGenerator[Action, None] = host.open(CALLER, CLIENT, events())
    return [action async for action in stream]


async def test_a_platform_that_is_starting_is_tried_again() -> None:
    port, far = free_port(), ScriptedHost()
    async with open_remote(there(port), mint) as host, asyncio.TaskGroup() as group:
        waiting = group.create_task(actions(host))
        await asyncio.sleep(0.15)
        async with platform(far, port):
            assert len(await waiting) == 2
        assert len(far.turns) == 1
    assert "x-gitlab-client-name" not in far.turn.client.headers, "gRPC cannot carry it"


async def test_a_platform_that_is_not_there_is_unavailable() -> None:
    async with open_remote(there(free_port()), mint) as host:
        with pytest.raises(errors.Unavailable):
            await actions(host)


async def test_a_stream_that_was_answered_is_not_tried_again() -> None:
    far = ScriptedHost()

    async def script(_: Turn) -> AsyncIterator[Action]:
        yield notice("RUNNING", "one")
        raise errors.Unavailable("gone")

    far.script = script
    async with platform(far) as listener, open_remote(there(listener.port), mint) as host:
        with pytest.raises(errors.Unavailable):
            await actions(host)
        assert len(far.turns) == 1


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_status_is_a_failure_of_ours(code: grpc.StatusCode) -> None:
    empty = aio.Metadata()
    error = aio.AioRpcError(code, empty, empty, details="words")
    failure = failure_of(error)
    assert isinstance(failure, Failure)
    assert failure.detail == "words"


async def test_what_cannot_be_signed_ends_the_session() -> None:
    def refuse(_: Caller, __: ClientInfo) -> str:
        raise errors.CannotSign("no key")

    with pytest.raises(errors.CannotSign):
        await actions(RemoteHost(there(1), refuse))
