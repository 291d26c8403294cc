"""The use cases of the instance API, and the door to them: they load when first asked for."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from isthmus.core.ports import Clock, Limiter, Outbound, Telemetry
from isthmus.core.records import EventQueue
from isthmus.instance.accounts import Accounts
from isthmus.instance.broker import Broker
from isthmus.instance.checkpoints import Checkpoints
from isthmus.instance.discovery import Discovery
from isthmus.instance.flags import Flags
from isthmus.instance.locks import Locks
from isthmus.instance.metadata import ModelMetadata
from isthmus.instance.oauth import OAuth
from isthmus.instance.places import Places
from isthmus.instance.runs import Runs
from isthmus.instance.signin import SignIn
from isthmus.instance.usage import UsageReport
from isthmus.instance.workflows import Workflows
from isthmus.settings import InstanceSettings

if TYPE_CHECKING:  # what it speaks, protobuf, is not part of the base install
    from isthmus.platform.host import SessionHost


@dataclass(frozen=True, slots=True)
class InstanceServices:
    """Everything that the instance's edge may call.

    `sessions` is None where none can run. `outbound` reaches the instance of `settings.gitlab_url`;
    `locks` are the relay's; `tools` are the specifications of those that sessions have.
    """

    accounts: Accounts
    places: Places
    workflows: Workflows
    runs: Runs
    checkpoints: Checkpoints
    events: EventQueue
    flags: Flags
    metadata: ModelMetadata
    discovery: Discovery
    broker: Broker
    oauth: OAuth
    sign_in: SignIn
    usage: UsageReport
    sessions: "SessionHost | None"
    limiter: Limiter
    telemetry: Telemetry
    clock: Clock
    settings: InstanceSettings
    outbound: Outbound | None = None
    tools: Sequence[Mapping[str, object]] = ()
    locks: Locks = field(default_factory=Locks)


InstanceDoor: TypeAlias = Callable[[], Awaitable[InstanceServices]]
"""Opens the instance at the first call, and waits for that; raises Unavailable when it cannot."""
