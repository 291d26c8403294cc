"""A limiter whose counters many processes share, on a Valkey or Redis server.

What is lent to this process is spent without asking, and lent anew before it is spent; the rest is
asked for in batches, one under way at a time, and what is given back goes with them. While the
server is away, each process goes on with its share of every amount: nobody waits for it, and
nothing is without a limit.
"""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Final

from isthmus.adapters.limits.batch import Ask, Batch, Part, known
from isthmus.adapters.limits.held import Held, refusal
from isthmus.adapters.limits.link import SCRIPT, Link, StoreLostError, ValkeyLink
from isthmus.adapters.limits.shared import Shared, SharedSlots, SharedWindow
from isthmus.adapters.limits.window import check
from isthmus.core.beside import beside
from isthmus.core.events import LimitStoreLost
from isthmus.core.limits import Claim, LimitKey
from isthmus.core.policies import Reservation
from isthmus.core.ports import Clock, Telemetry
from isthmus.settings_limits import LimitsSettings
from isthmus.settings_sources import SettingsError

MAX_KEYS: Final = 100_000
ASKS: Final = 100
UPDATES: Final = 500
"""Asks and updates in one batch, at most."""
TICK_S: Final = 0.02
"""How long what is given back may wait for a batch."""


def server_time() -> int:
    """The store goes by its own clock."""
    return 0


class ValkeyLimiter:
    """The Reserver port on a store. `run` must run beside whoever uses it, and `leave` after it.

    `time_ms` is the time that the store goes by; its own, unless a test winds it.
    """

    def __init__(
        self,
        link: Link,
        settings: LimitsSettings,
        clock: Clock,
        telemetry: Telemetry,
        time_ms: Callable[[], int] = server_time,
    ) -> None:
        self._link = link
        self._settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._time_ms = time_ms
        self._who = token_hex(8)
        self._counters: OrderedDict[LimitKey, Shared] = OrderedDict()
        self._asks: list[Ask] = []
        self._wake = asyncio.Event()
        # Counters that the store must be told of, and those that hold what it lent.
        self._dirty: dict[Shared, None] = {}
        self._lent: dict[Shared, None] = {}
        self._swept_s = 0.0
        self._lost = False

    async def take(self, key: LimitKey, cost: int) -> None:
        """See InProcessLimiter."""
        check(key, cost)
        if cost:
            await self._grant([Part(self._counter(key), Claim(key, cost))])

    async def reserve(self, claims: Sequence[Claim]) -> Reservation:
        """See `Reserver`."""
        parts = [Part(self._counter(claim.key), claim) for claim in claims]
        await self._grant(parts)
        return Held(parts, self._grant, self._clock)

    async def _grant(self, parts: Sequence[Part]) -> None:
        now_s = self._clock.now_s()
        if self._lost:
            self._grant_alone(parts, (), now_s)
            return
        missing = self._spend(parts, now_s)
        if not missing:
            return
        held = [part for part in parts if part not in missing]
        for part in missing:
            if not part.shadow and known(part).barred(part.units, now_s):
                _undo(held, now_s)
                raise refusal(part.counter, part.units, now_s)
        misfit = await self._ask(missing, held)
        if misfit is None:
            return
        # What was lent meanwhile, or given back, may do now, or with what the store has left.
        now_s = self._clock.now_s()
        left = self._spend(missing, now_s)
        held += [part for part in missing if part not in left]
        if any(known(part).idle for part in left):
            misfit = await self._ask(left, held)
        elif not left:
            misfit = None
        if misfit is not None:
            _undo(held, now_s)
            raise refusal(misfit.counter, misfit.units, now_s)

    async def _ask(self, parts: Sequence[Part], held: Sequence[Part]) -> Part | None:
        """Ask the store; returns a part that does not fit. `held` goes back if there is none."""
        if self._lost:
            self._grant_alone(parts, held, self._clock.now_s())
            return None
        ask = Ask(parts, asyncio.get_running_loop().create_future())
        self._asks.append(ask)
        self._wake.set()
        try:
            return await ask.answer
        except StoreLostError:
            self._grant_alone(parts, held, self._clock.now_s())
            return None
        except asyncio.CancelledError:
            _undo([*held, *parts] if ask.granted else held, self._clock.now_s())
            raise

    def _spend(self, parts: Sequence[Part], now_s: float) -> list[Part]:
        """Spend what is lent; returns the parts for which that does not suffice."""
        missing: list[Part] = []
        for part in parts:
            ticket = part.counter.spend(part.units, now_s)
            if ticket is not None:
                part.hold(ticket)
            elif part.shadow and known(part).barred(part.units, now_s):
                part.over = True
                part.hold(part.counter.force(part.units, now_s))
            else:
                missing.append(part)
        return missing

    def _grant_alone(self, parts: Sequence[Part], held: Sequence[Part], now_s: float) -> None:
        """Spend of this process's share; `held` is given back when that does not suffice."""
        share = self._settings.local_share
        for count, part in enumerate(parts):
            ticket = known(part).spend_alone(part.units, now_s, share)
            if ticket is None:
                if not part.shadow:
                    _undo([*held, *parts[:count]], now_s)
                    raise refusal(part.counter, part.units, now_s)
                part.over = True
                ticket = part.counter.force(part.units, now_s)
            part.hold(ticket)

    async def run(self) -> None:
        """Talk with the store, for ever."""
        while True:
            if self._lost:
                await asyncio.sleep(self._settings.retry_s)
                await self.look()
            else:
                await self._due()
                await self.send()

    async def leave(self) -> None:
        """Give back what is lent."""
        for counter in self._lent:
            counter.retire()
        self._swept_s = 0.0
        while (self._dirty or self._lent) and not self._lost:
            self._lent.clear()
            await self.send()
        for ask in self._asks:
            ask.answer.cancel()

    async def look(self) -> None:
        """Ask whether the store is there; one that is back is told what happened without it."""
        try:
            await self._link.run((), Batch().numbers(self._time_ms(), self._who))
        except StoreLostError as error:
            self._lose(error)
            return
        if self._lost:
            self._lost = False
            for counter in [*self._dirty, *self._lent]:
                counter.found()
                self._dirty[counter] = None
            self._telemetry.emit(LimitStoreLost(lost=False))

    async def send(self) -> None:
        """One batch: what is due, and what is asked for."""
        now_s = self._clock.now_s()
        batch = Batch()
        told = self._add_updates(batch, now_s)
        asks, self._asks = self._asks[:ASKS], self._asks[ASKS:]
        batch.add_asks(asks, now_s)
        for counter in told:
            batch.add_renewal(counter, now_s)
        if batch.empty:
            return
        numbers = batch.numbers(self._time_ms(), self._who)
        try:
            answer = await self._link.run(tuple(batch.names), numbers)
            batch.check(answer)
        except BaseException as error:
            self._asks = [*batch.asks, *self._asks]
            if not isinstance(error, StoreLostError):
                raise
            self._lose(error)
        else:
            for counter in batch.answered(answer, self._clock.now_s()):
                self._lent[counter] = None

    async def _due(self) -> None:
        """Wait until somebody asks, or until it is time to tell the store something."""
        while not self._asks:
            busy = bool(self._dirty or self._lent)
            self._wake.clear()
            try:
                async with asyncio.timeout(TICK_S if busy else None):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _add_updates(self, batch: Batch, now_s: float) -> list[Shared]:
        due = list(self._dirty)[:UPDATES]
        for counter in due:
            del self._dirty[counter]
        if now_s - self._swept_s >= TICK_S:
            self._swept_s = now_s
            due += [counter for counter in self._lent if counter not in due]
        for counter in due:
            batch.add_updates(counter, counter.updates(now_s))
            if counter.lent:
                self._lent[counter] = None
            else:
                self._lent.pop(counter, None)
            # Giving back is an update itself, and it is under way with this batch.
            self._dirty.pop(counter, None)
        return due

    def _lose(self, error: StoreLostError) -> None:
        if not self._lost:
            self._lost = True
            self._telemetry.emit(LimitStoreLost(lost=True, error=str(error)))
        for counter in [*self._dirty, *self._lent]:
            counter.lost()
        for ask in self._asks:
            if not ask.answer.done():
                ask.answer.set_exception(error)
        self._asks.clear()

    def _touched(self, counter: Shared) -> None:
        if not self._dirty:
            self._wake.set()
        self._dirty[counter] = None

    def _counter(self, key: LimitKey) -> Shared:
        counters = self._counters
        found = counters.get(key)
        if found is not None:
            counters.move_to_end(key)
            return found
        if key.counted == "concurrency":
            found = SharedSlots(key, self._settings.lease_s, self._touched)
        else:
            found = SharedWindow(key, self._touched)
        counters[key] = found
        if len(counters) > MAX_KEYS:
            self._evict()
        return found

    def _evict(self) -> None:
        """The longest unused counter goes, but none that counts calls which still run."""
        newest = next(reversed(self._counters))
        for key, counter in self._counters.items():
            if key is not newest and not counter.busy:
                del self._counters[key]
                if self._lost:
                    self._dirty.pop(counter, None)
                return


@asynccontextmanager
async def open_valkey(
    settings: LimitsSettings, clock: Clock, telemetry: Telemetry, trust: ssl.SSLContext | None
) -> AsyncIterator[ValkeyLimiter]:
    """The limiter, talking with its store. Raises SettingsError for a URL that makes no sense."""
    script = await asyncio.to_thread(SCRIPT.read_text, "utf-8")
    try:
        link = ValkeyLink(settings.url.get_secret_value(), settings.timeout_s, script, trust)
    except ValueError as error:
        raise SettingsError("limits.url: must be a redis:// or valkey:// URL") from error
    limiter = ValkeyLimiter(link, settings, clock, telemetry)
    await limiter.look()
    try:
        async with beside(limiter.run()):
            yield limiter
    finally:
        await limiter.leave()
        await link.close()


def _undo(parts: Sequence[Part], now_s: float) -> None:
    for part in parts:
        part.undo(now_s)
