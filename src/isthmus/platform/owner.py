"""One process as a runner of sessions: it holds leases, beats, and takes over from the dead."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from math import inf

from isthmus.core.errors import Failure, Unavailable
from isthmus.core.events import Noted
from isthmus.core.lease import Lease, Leases
from isthmus.core.ledger import Ledger
from isthmus.core.ports import Clock, Telemetry, WorkflowStore
from isthmus.platform.lease import BEAT_S, WAIT_S, Watch

TRY_S, SLOWEST_TRY_S = 0.1, 0.8
"""How often a session is asked for that is in other hands, at first and after a while. Many may
wait, and what they wait for is a server that is about to do the work of two."""
LOST = "A session lost its server; it can go on."
TIDIED = 10
"""How many sessions are let go of between two beats, which are not to be late."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all processes that run sessions on a database share, wherever the records are kept."""

    leases: Leases
    ledger: Ledger
    workflows: WorkflowStore


class Owner:
    """The leases of this process. `runner` is an id that no other process has."""

    def __init__(
        self,
        runner: str,
        shared: Shared,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._runner = runner
        self._leases = shared.leases
        self.ledger = shared.ledger
        self._telemetry = telemetry
        self._clock = clock
        self._watch = Watch()
        self._beat, self._beaten_s = 0, -inf
        self._held: dict[str, Lease] = {}
        self._loose: set[str] = set()
        self._busy: set[str] = set()
        self._died = asyncio.Event()
        self._blind = False

    async def hold(self, thread_id: str, client: str = "") -> Lease:
        """The lease of a session, waited for while it is another's who may be dead.

        Unless that one held it for the same client: then nobody waits. Raises Unavailable when the
        other lives.
        """
        end_s, pause_s = self._clock.now_s() + WAIT_S, TRY_S
        while True:
            died = self._died
            try:
                return await self._take(thread_id, client)
            except Unavailable as error:
                if error.retry_after_s is None or self._clock.now_s() > end_s:
                    raise
            with suppress(TimeoutError):
                await asyncio.wait_for(died.wait(), pause_s)
            pause_s = min(2 * pause_s, SLOWEST_TRY_S)

    async def release(self, lease: Lease) -> None:
        """Let go; a store that is down is asked again later."""
        if self._held.get(lease.thread_id) == lease:
            del self._held[lease.thread_id]
        try:
            await self._leases.release(lease)
        except Failure:
            self._loose.add(lease.thread_id)

    async def keep(self) -> None:
        """Beat, and look for the dead, until cancelled."""
        while True:
            try:
                await self._round()
            except Failure as failure:
                if not self._blind:
                    told = (("failure", type(failure).__name__),)
                    self._telemetry.emit(Noted("warning", "Leases cannot be kept.", told))
                self._blind = True
            else:
                self._blind = False
            await asyncio.sleep(BEAT_S)

    async def leave(self) -> None:
        """Let go of everything."""
        try:
            await self._leases.leave(self._runner)
        except Failure:
            # Others will see that we are gone.
            return

    async def _round(self) -> None:
        beats = await self._leases.beats(self._own())
        self._watch.note(beats, self._clock.now_s())
        for runner, beat in self._watch.lapsed().items():
            if runner != self._runner:
                await self._bury(runner, beat)
        self._loose -= self._held.keys()
        for thread_id in islice(self._loose - self._busy, TIDIED):
            await self._tidy(thread_id)

    async def _bury(self, dead: str, beat: int) -> None:
        """Free what it held; those who wait for a session are told."""
        lost = await self._leases.reap(dead, beat, self._clock.utc())
        self._died.set()
        self._died = asyncio.Event()
        for workflow_id in lost:
            details = (("workflow_id", workflow_id),)
            self._telemetry.emit(Noted("warning", LOST, details))

    def _own(self) -> Mapping[str, int]:
        """Who runs nothing is not missed by anybody, and leaves the database alone."""
        if not self._held and not self._loose:
            return {}
        return self._next()

    def _next(self) -> Mapping[str, int]:
        self._beat += 1
        self._beaten_s = self._clock.now_s()
        return {self._runner: self._beat}

    async def _take(self, thread_id: str, client: str = "") -> Lease:
        if thread_id in self._busy:
            raise Unavailable("The session is just being taken.", TRY_S)
        self._busy.add(thread_id)
        try:
            if self._clock.now_s() - self._beaten_s > BEAT_S and not self._held:
                # Who has run nothing for a while may look dead.
                await self._leases.beats(self._next())
            lease = await self._leases.take(thread_id, self._runner, client)
        except asyncio.CancelledError:
            self._loose.add(thread_id)
            raise
        else:
            self._held[thread_id] = lease
            return lease
        finally:
            self._busy.discard(thread_id)

    async def _tidy(self, thread_id: str) -> None:
        """Let go of what a stream took, or gave back, without hearing that it did."""
        self._loose.discard(thread_id)
        try:
            lease = await self._take(thread_id)
        except Unavailable as error:
            if error.retry_after_s is None:
                self._loose.add(thread_id)
                raise
        else:
            await self.release(lease)
