"""The use cases that an edge may call, and whether this process may take requests."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isthmus.auth.authenticate import Authenticator
from isthmus.core.errors import Failure
from isthmus.core.ports import Clock, Pingable, Telemetry, VerificationKey
from isthmus.core.trace import Traces
from isthmus.gateway.chat import ReactChat
from isthmus.gateway.converse import Converse
from isthmus.gateway.embed import Embed
from isthmus.gateway.forward import Forward
from isthmus.gateway.grant import Grant
from isthmus.gateway.invoke import Invoke
from isthmus.gateway.payloads import NO_PAYLOADS, PayloadPolicy
from isthmus.gateway.search import SearchDocs
from isthmus.gateway.suggest import Suggest
from isthmus.routing.define import Definitions
from isthmus.settings import HttpSettings, InstanceSettings

if TYPE_CHECKING:  # loaded late
    from isthmus.edge.instance import InstanceDoor

PING_LIMIT_S = 2.0
KEEP_S = 1.0


class Readiness:
    """Whether this process should get requests: it serves, and each named check answers.

    The route that asks is open to anyone, so a round of pings is kept for a second and shared by
    everybody who asks meanwhile.
    """

    def __init__(
        self, checks: Mapping[str, Pingable], clock: Clock, bypasses: Sequence[str] = ()
    ) -> None:
        """`bypasses` are settings that weaken authentication: they hinder nothing, and are told."""
        self.bypasses = tuple(bypasses)
        self._checks = dict(checks)
        self._clock = clock
        self._serving = False
        self._known: dict[str, bool] = {}
        self._known_at_s = float("-inf")
        self._turn = asyncio.Lock()

    def set_serving(self, serving: bool) -> None:
        """Turn readiness on once the listener answers, and off when the drain begins."""
        self._serving = serving

    async def state(self) -> dict[str, bool]:
        """Check name -> passed; `serving` is always there. A check that hangs has failed."""
        if not self._checks:
            return {"serving": self._serving}
        async with self._turn:
            if self._clock.now_s() - self._known_at_s >= KEEP_S:
                async with asyncio.TaskGroup() as group:
                    pings = {
                        name: group.create_task(_answers(check))
                        for name, check in self._checks.items()
                    }
                self._known = {name: ping.result() for name, ping in pings.items()}
                self._known_at_s = self._clock.now_s()
            return {"serving": self._serving} | self._known


async def _answers(check: Pingable) -> bool:
    try:
        async with asyncio.timeout(PING_LIMIT_S):
            await check.ping()
    except (Failure, TimeoutError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Services:
    """Everything an edge may call.

    `definitions` tells which models there are, for a caller with these feature flags;
    `instance` is None where the instance API is switched off.
    `traces` begins the spans of requests, where somebody wants them.
    `payloads` also says whose replies may name the fields at fault; `barred_flags` are dropped, by
    realm.
    """

    authenticator: Authenticator
    grant: Grant
    suggest: Suggest
    forward: Forward
    embed: Embed
    search: SearchDocs
    definitions: Callable[[Collection[str]], Definitions]
    invoke: Invoke
    chat: ReactChat
    converse: Converse
    prompt_ids: tuple[str, ...]
    readiness: Readiness
    telemetry: Telemetry
    clock: Clock
    public_keys: Sequence[VerificationKey]
    http: HttpSettings
    instance: "InstanceDoor | None" = None
    instance_settings: InstanceSettings = field(default_factory=InstanceSettings)
    payloads: PayloadPolicy = NO_PAYLOADS
    barred_flags: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])
    traces: Traces | None = None
