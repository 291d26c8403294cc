"""No turn of a session lies about its end, by gRPC or over a socket, whatever its vendor does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.providers._load import load_providers
from isthmus.app.foundation import SystemClock
from isthmus.contract.contract_pb2 import Action, ClientEvent
from isthmus.core.events import REQUEST_ID
from isthmus.core.identity import Caller, ClientInfo
from isthmus.edge.instance import InstanceServices
from isthmus.platform.host import SessionHost
from isthmus.settings import PlatformSettings
from tests.contract.grpc.platform_stand import ScriptedHost as GrpcHost
from tests.contract.grpc.platform_stand import metadata, standing
from tests.faults.cases import Case, cases
from tests.faults.expect import counted, left
from tests.faults.routes import Route
from tests.faults.stand import (
    HASTY,
    PATIENT,
    TOKEN,
    FactsByCase,
    FreshModels,
    catalogue_of,
    settings_of,
)
from tests.faults.vendors import DIALECTS, Dialect
from tests.support.faulty_upstream import FaultyUpstream, faulty_upstream
from tests.support.instance_stand import InstanceStand
from tests.support.relay_stand import RelayStand, hear, open_relay, prepare, say
from tests.support.scripted_models import ScriptedModels
from tests.support.session_client import Stand, chat

AT_ONCE = 8
LIMIT_S = 10.0
SPOKEN = ("anthropic", "gemini")
WAITS = {"INPUT_REQUIRED", "FINISHED"}


class Named:
    """Hosts sessions under the name that their client sent, which is the case's."""

    def __init__(self, hasty: SessionHost, patient: SessionHost) -> None:
        self._hosts = {True: hasty, False: patient}

    def open(
        self, caller: Caller, client: ClientInfo, events: AsyncIterator[ClientEvent]
    ) -> AsyncIterator[Action]:
        case = client.get("x-gitlab-correlation-id") or client.get("x-request-id") or ""
        REQUEST_ID.set(case)
        return self._hosts[case in HURRIED].open(caller, client, events)


UNWAITED = PlatformSettings(model_retries=0)
"""A fault is what it is at once: what is waited out has tests of its own."""
HURRIED: set[str] = set()
"""The cases whose vendor stalls."""


@dataclass
class Turn:
    """What a client saw: the status that was told last, and whether the stream ended well."""

    statuses: list[str] = field(default_factory=list[str])
    good: bool = False


@dataclass
class Platform:
    """Sessions over one transport, before a faulty vendor."""

    upstream: FaultyUpstream
    sink: FactsByCase
    relay: RelayStand
    stub: Any

    async def turn(self, transport: str, case: str, workflow_id: str) -> Turn:
        """One turn, to its end or until it is cancelled."""
        over = self._by_grpc if transport == "grpc" else self._by_socket
        return await over(case, workflow_id)

    async def _by_grpc(self, case: str, workflow_id: str) -> Turn:
        turn = Turn()
        headers = metadata({"x-request-id": case})
        call = self.stub.ExecuteWorkflow(metadata=headers)
        try:
            await call.write(ClientEvent(startRequest=chat(case, workflow_id)))
            async for action in call:
                if action.HasField("newCheckpoint"):
                    turn.statuses.append(action.newCheckpoint.status)
            turn.good = await call.code() is StatusCode.OK
        except AioRpcError:
            turn.good = False
        finally:
            call.cancel()
        return turn

    async def _by_socket(self, case: str, workflow_id: str) -> Turn:
        start = {"workflowID": workflow_id, "workflowDefinition": "chat", "goal": case}
        async with self.relay.connect(headers={"x-request-id": case}) as socket:
            await say(socket, {"startRequest": start})
            heard = await hear(socket)
        return Turn(heard.statuses, good=heard.code == 1000)


@asynccontextmanager
async def platform(directory: Path, dialect: Dialect) -> AsyncIterator[Platform]:
    """Both transports, each before hosts of its own: a patient one, and one for stalls."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(faulty_upstream())
        upstream.plain = {"/token": TOKEN}
        sink, clock = FactsByCase(), SystemClock()
        models: list[ScriptedModels] = []
        for limits in (HASTY, PATIENT):
            outbound = await stack.enter_async_context(open_client(limits, clock))
            providers = await asyncio.to_thread(
                load_providers, settings_of(upstream), outbound, clock, limits
            )
            fresh = FreshModels(providers, catalogue_of(dialect), limits, sink)
            models.append(cast("ScriptedModels", fresh))
        stands: list[Stand] = [Stand(each, settings=UNWAITED) for each in models]

        def local(people: InstanceStand, services: InstanceServices) -> InstanceServices:
            stores = people.stores
            mine = [
                Stand(
                    each,
                    workflows=stores.workflows,
                    checkpoints=stores.checkpoints,
                    leases=stores.leases,
                    ledger=stores.ledger,
                    settings=UNWAITED,
                )
                for each in models
            ]
            stands.extend(mine)
            return replace(services, sessions=Named(mine[0].host, mine[1].host))

        relay = await stack.enter_async_context(open_relay(directory, change=local))
        for each in stands:
            await stack.enter_async_context(each.serving())
        host = cast("GrpcHost", Named(stands[0].host, stands[1].host))
        grpc = await stack.enter_async_context(standing(host, enabled=False))
        yield Platform(upstream, sink, relay, grpc.stub)


@pytest.fixture(scope="module", autouse=True)
def prepared() -> None:
    prepare()


@dataclass
class Run:
    """The cases of one transport and dialect."""

    platform: Platform
    transport: str
    problems: list[str] = field(default_factory=list[str])

    async def play(self, case: Case) -> None:
        platform = self.platform
        watch = platform.upstream.play(case.name, case.script)
        if case.script.fault == "stall":
            HURRIED.add(case.name)
        workflow_id = str(int(case.name[4:-1]))
        if self.transport == "socket":
            workflow_id = await platform.relay.workflow(definition="chat")
        turn = asyncio.ensure_future(platform.turn(self.transport, case.name, workflow_id))
        try:
            async with asyncio.timeout(LIMIT_S):
                if case.script.fault == "hold":
                    await watch.played.wait()
                    turn.cancel()
                    await watch.closed.wait()
                    fact = await platform.sink.told(case.name)
                    self.problems += [f"{case}: {one}" for one in left(case, fact)]
                    return
                seen = await turn
                fact = await platform.sink.told(case.name)
        except TimeoutError:
            self.problems.append(f"{case}: no end in {LIMIT_S} s")
            return
        finally:
            turn.cancel()
        if platform.sink.started[case.name] != len(platform.sink.called[case.name]):
            self.problems.append(f"{case}: told {len(platform.sink.called[case.name])} times")
        last = seen.statuses[-1] if seen.statuses else ""
        whole = seen.good and last in WAITS
        if whole != case.whole:
            self.problems.append(f"{case}: ended as {last}, {seen.good}")
        told = fact.finish in {"stop", "length", "tool_use"} and fact.error == "none"
        if told != case.whole:
            self.problems.append(f"{case}: is told as {fact.finish}, {fact.error}")
        self.problems += [f"{case}: {one}" for one in counted(case, fact)]


def _no_body(case: str, stream: bool) -> dict[str, Any]:
    return {case: stream}


@pytest.mark.parametrize("dialect", SPOKEN)
@pytest.mark.parametrize("transport", ["grpc", "socket"])
async def test_every_turn_ends_as_it_did(tmp_path: Path, transport: str, dialect: str) -> None:
    route = Route(transport, "", True, _no_body, SPOKEN, bytes.decode)
    async with platform(tmp_path, DIALECTS[dialect]) as stand:
        run = Run(stand, transport)
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(case: Case) -> None:
            async with gate:
                await run.play(case)

        async with asyncio.TaskGroup() as group:
            for case in cases(route, dialect):
                group.create_task(one(case))
    assert not run.problems, "\n".join(run.problems)
