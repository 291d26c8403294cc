"""What a session hands to its engine, and what the engine may do to the session.

The engine lives in `platform/engine`, and is loaded only where sessions run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from isthmus.core.events import ModelUse
from isthmus.core.identity import Caller
from isthmus.core.lease import Lease
from isthmus.core.messages import ModelChoice
from isthmus.core.site import Site
from isthmus.core.workflow import Status
from isthmus.platform.flow import Flow
from isthmus.platform.home import Home
from isthmus.platform.ledger import Book, Machine
from isthmus.platform.mode import Mode
from isthmus.platform.notifier import Snapshot
from isthmus.platform.offer import Kit
from isthmus.platform.scan import Level
from isthmus.platform.start import Start
from isthmus.platform.stores import SessionStores
from isthmus.routing.sticky import Picked


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a session. `record_goal` is the record's goal; `definition` labels facts.

    `stopped`: the turn before was stopped by the user.
    `stores` may be this session's alone: an engine holds on to none. `site` is where it works.
    What is written is written under `lease`, and what is done to the world stands in `book`.
    `kits` are the tools of each component, `choices` the models of those that have one of their
    own, and `context` is what the engine tells a flow, the client's inputs included. `scan` is
    whether results are searched for orders to a model, `parallel` whether several agents may work
    at once.
    """

    start: Start
    mode: Mode
    flow: Flow
    definition: str
    kits: Mapping[str, Kit]
    model: Picked
    caller: Caller
    record_goal: str
    home: Home
    stores: SessionStores
    lease: Lease
    book: Book
    stopped: bool = False
    choices: Mapping[str, ModelChoice] = field(default_factory=dict[str, ModelChoice])
    context: Mapping[str, object] = field(default_factory=dict[str, object])
    site: Site = field(default=Site())
    scan: Level = "off"
    parallel: bool = False

    @property
    def held_as(self) -> str:
        """The name of the session: its secrets are kept under it."""
        return self.stores.held_as(self.start.workflow_id)

    def choice(self, agent: str) -> ModelChoice:
        """The model of an agent."""
        return self.choices.get(agent, self.model.choice)


@dataclass(frozen=True, slots=True)
class Written:
    """What storing a step cost."""

    size_bytes: int
    blobs: int
    duration_s: float


class Stage(Protocol):
    """The session, as its engine sees it."""

    @property
    def client(self) -> Machine:
        """The client's machine, for tools."""
        ...

    @property
    def leaving(self) -> bool:
        """Whether the turn is to end at the next stored step, to go on elsewhere."""
        ...

    def utc(self) -> datetime:
        """The wall clock."""
        ...

    def say(self, message_id: str, text: str, component: str) -> None:
        """Show more text of the message that a model is writing; "" takes back what was shown."""
        ...

    async def announce(self) -> None:
        """Tell the client of a model call that comes, where such calls are counted one by one."""
        ...

    def answered(self, use: ModelUse) -> None:
        """A model answered an agent."""
        ...

    def called(self, tool: str) -> None:
        """A tool was called."""
        ...

    async def wait(self, status: Status) -> None:
        """Move the record to a waiting status, once; called before the step is stored."""
        ...

    def show(self, snapshot: Snapshot) -> None:
        """Show the state of the session as it is stored."""
        ...

    async def shown(self) -> None:
        """Wait until what was shown is on its way to the client, and not merged with what comes."""
        ...

    def stored(self, written: Written) -> None:
        """A step was stored."""
        ...


class Run(Protocol):
    """A turn that is ready to run."""

    async def drive(self, stage: Stage) -> Status:
        """Run to the end of the turn: the status it ends in.

        Raises Interrupted when the stage is leaving, LimitExceeded after too many steps, or what
        models and stores raise. Cancelling it loses the running step only.
        """
        ...


class Engine(Protocol):
    """Runs turns."""

    async def prepare(self, turn: Turn) -> Run:
        """Read the last checkpoint and decide where to go on; changes nothing.

        Raises Invalid when what the client sent does not fit the state of the session.
        """
        ...
