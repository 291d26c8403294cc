"""A client of a session host, and a host with everything around it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    ClientEvent,
    NewCheckpoint,
    PlainTextResponse,
    StartWorkflowRequest,
    StopWorkflowRequest,
)
from isthmus.core.checkpoint import Thread
from isthmus.core.errors import Failure
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.lease import Leases
from isthmus.core.ledger import Ledger
from isthmus.core.ports import CheckpointStore, WorkflowStore
from isthmus.platform import commands
from isthmus.platform.catalogue import load, read_schemas
from isthmus.platform.credits import Credits
from isthmus.platform.engine.run import Equipment, GraphEngine
from isthmus.platform.flow_stock import Stock
from isthmus.platform.host import LocalHost, Parts, none_served
from isthmus.platform.keeping import embedded
from isthmus.platform.opening import StoresOf
from isthmus.platform.owner import Shared
from isthmus.platform.scan import Bounds, Guard, Scanner
from isthmus.platform.tool import Tool
from isthmus.platform.toolbox import FOLDER, all_tools
from isthmus.platform.vault import Vaults
from isthmus.prompts.registry import Registry
from isthmus.redaction.rules import Rule, Rules, Shape
from isthmus.settings import PlatformSettings
from tests.support.clock import HandClock
from tests.support.memory_store import (
    MemoryCheckpoints,
    MemoryLeases,
    MemoryLedger,
    MemoryWorkflows,
)
from tests.support.scripted_models import ScriptedModels
from tests.support.sink import MemorySink

LIBRARY = FOLDER.parent
TOOLS = all_tools()
STOCK = Stock(TOOLS, Registry.load(LIBRARY / "prompts"), read_schemas(LIBRARY / "schemas"))
COMMANDS = commands.load(LIBRARY / "commands")
FLOWS = load(LIBRARY / "flows", STOCK)
CALLER = Caller("user-1", scopes=frozenset({"duo_chat"}))
One = str | ActionResponse | ClientEvent
Reply = One | list[One] | None
ServedTools = Callable[[str], Awaitable[Mapping[str, Tool]]]
Answerer = Callable[[Action], Reply]


def answer(action: Action) -> Reply:
    """Says "done" to everything."""
    return f"done: {action.WhichOneof('action')}"


def _unseen(_: str) -> None:
    return None


@dataclass
class Told:
    """What a client saw of one stream."""

    actions: list[Action] = field(default_factory=list)
    error: Exception | None = None

    @property
    def notices(self) -> list[NewCheckpoint]:
        return [a.newCheckpoint for a in self.actions if a.HasField("newCheckpoint")]

    @property
    def work(self) -> list[Action]:
        return [a for a in self.actions if not a.HasField("newCheckpoint")]

    @property
    def statuses(self) -> list[str]:
        return [notice.status for notice in self.notices]

    def log(self, number: int = -1) -> list[dict[str, Any]]:
        return json.loads(self.notices[number].checkpoint)["channel_values"]["ui_chat_log"]

    @property
    def kinds(self) -> list[str]:
        return [entry["message_type"] for entry in self.log()]


RULES = Rules([Shape(Rule(name="known", secret="s3cret", lead="(?:)", run="[a-z0-9]"), {})])
"""Know one secret."""


class Stand:
    """A host and all that it needs; `stream` is one turn of a client."""

    def __init__(
        self,
        models: ScriptedModels,
        *,
        workflows: WorkflowStore | None = None,
        checkpoints: CheckpointStore | None = None,
        leases: Leases | None = None,
        ledger: Ledger | None = None,
        settings: PlatformSettings | None = None,
        stores: StoresOf | None = None,
        credits_: Credits | None = None,
        metered: bool = False,
        scanner: Scanner | None = None,
        served: ServedTools = none_served,
    ) -> None:
        self.models = models
        self.workflows = workflows or MemoryWorkflows()
        self.checkpoints = checkpoints or MemoryCheckpoints()
        self.credits, self.metered = credits_ or Credits(), metered
        self.stores = stores or embedded(self.workflows, self.checkpoints)
        self.leases: Leases = leases or MemoryLeases()
        self.ledger: Ledger = ledger or MemoryLedger()
        self.sink = MemorySink()
        self.clock = HandClock()
        self.settings = settings or PlatformSettings()
        self.served = served
        self.guard = Guard(scanner, self.sink, self.clock, Bounds(0.5))
        self.host = LocalHost(self._parts())

    def _parts(self) -> Parts:
        engine = GraphEngine(
            Equipment(
                self.models,
                self.sink,
                self.clock,
                Vaults(RULES, lambda: bytes(32)),
                self.guard,
                self.settings,
                COMMANDS,
            )
        )
        return Parts(
            FLOWS,
            TOOLS,
            self.models,
            self.stores,
            Shared(self.leases, self.ledger, self.workflows),
            lambda: engine,
            self.sink,
            self.clock,
            self.settings,
            self.credits,
            self.metered,
            self.served,
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Stand"]:
        async with self.guard, self.host:
            yield self

    def limited(self, **limits: Any) -> "Stand":
        """The same stand with other settings of the platform."""
        return Stand(
            self.models,
            workflows=self.workflows,
            checkpoints=self.checkpoints,
            leases=self.leases,
            ledger=self.ledger,
            settings=self.settings.model_copy(update=limits),
            stores=self.stores,
        )

    async def head(self, workflow_id: str) -> str:
        """The id of the latest checkpoint."""
        latest = await self.checkpoints.get(Thread(workflow_id), None)
        assert latest is not None
        return latest.checkpoint_id

    async def stream(
        self,
        start: StartWorkflowRequest | Sequence[ClientEvent],
        answerer: Answerer = answer,
        *,
        caller: Caller = CALLER,
        headers: dict[str, str] | None = None,
        seen: Callable[[str], None] = _unseen,
    ) -> Told:
        """Open a stream, answer every action, and read to its end.

        `seen` is told the status of each notice as it comes (and "" for other actions).
        A list of events is all that the client sends; a start message is followed by answers.
        """
        events: asyncio.Queue[ClientEvent | None] = asyncio.Queue()
        if isinstance(start, StartWorkflowRequest):
            events.put_nowait(ClientEvent(startRequest=start))
        else:
            for event in (*start, None):
                events.put_nowait(event)
        told = Told()
        info = ClientInfo({"x-gitlab-version": "18.7.0"} if headers is None else headers)
        stream = self.host.open(caller, info, feed(events))
        async with aclosing(stream) as actions:
            try:
                async for action in actions:
                    told.actions.append(action)
                    seen(action.newCheckpoint.status)
                    if not action.HasField("newCheckpoint"):
                        reply(events, action, answerer(action))
            except Failure as failure:
                told.error = failure
        return told


async def feed(events: asyncio.Queue[ClientEvent | None]) -> AsyncIterator[ClientEvent]:
    """The queue's events until a None."""
    while (event := await events.get()) is not None:
        yield event


def reply(events: asyncio.Queue[ClientEvent | None], action: Action, replies: Reply) -> None:
    """Answer an action; None leaves it open."""
    for one in replies if isinstance(replies, list) else [replies]:
        match one:
            case ClientEvent():
                events.put_nowait(one)
            case ActionResponse():
                events.put_nowait(ClientEvent(actionResponse=one))
            case str():
                plain = PlainTextResponse(response=one)
                response = ActionResponse(requestID=action.requestID, plainTextResponse=plain)
                events.put_nowait(ClientEvent(actionResponse=response))
            case _:
                pass


def chat(goal: str = "", workflow_id: str = "7", **fields: Any) -> StartWorkflowRequest:
    """The first message of a turn."""
    return StartWorkflowRequest(
        workflowID=workflow_id, workflowDefinition="chat", goal=goal, **fields
    )


def stop(reason: str = "") -> ClientEvent:
    """The client asks to stop."""
    return ClientEvent(stopWorkflow=StopWorkflowRequest(reason=reason))
