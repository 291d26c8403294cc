"""One try of a model call: a start and exactly one end, whatever the ending."""

import asyncio
from itertools import count
from secrets import token_hex
from types import TracebackType
from typing import Generic

from msgspec import Struct
from msgspec.structs import replace

from isthmus.core.errors import Failure
from isthmus.core.events import ModelCalled, ModelCallStarted
from isthmus.core.identity import NOBODY, Who
from isthmus.core.messages import Delta, Infill, Usage
from isthmus.core.notes import NOTES, Notes
from isthmus.core.ports import Clock, Telemetry
from isthmus.routing.ask import Ask, EmbedAsk, RawAsk
from isthmus.routing.failures import class_of
from isthmus.routing.price import cost
from isthmus.routing.walk import Walk, Words


class Labels(Struct, frozen=True, gc=False):
    """What a call is told under, besides where it goes."""

    feature: str
    unit_primitive: str
    streaming: bool
    who: Who = NOBODY


class Teller:
    """What every turn of a process shares."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        self.telemetry = telemetry
        self.clock = clock
        # Unique, and no secret: asking the kernel for chance on every call costs more.
        self._process = token_hex(6)
        self._numbers = count(1)

    def call_id(self) -> str:
        """An id that no other call has."""
        return f"{self._process}{next(self._numbers):010x}"


class Turn(Generic[Words]):
    """A context: enter it, `await wait()` unless it is `ready`, `start()`, ask, `served()`.

    Leaving tells the walk how it went. A failure before the answer began goes no further when the
    walk has found somebody else to ask; then the next turn is due. A turn that never started, for
    nobody let it through the queue, is no call and is not told.
    """

    # Of the class until they change: most turns need few of them, and each takes time to set.
    _notes: Notes | None = None
    _entered = False
    _started_s = _noted_s = _last_s = _longest_gap_s = 0.0
    _gaps = 0
    started = False
    begun = False
    """Whether something of the answer may have reached the caller: nobody else can go on."""
    call_id = finish = ""
    error = "none"
    queued_s = first_byte_s = 0.0
    usage: Usage | None = None

    def __init__(self, teller: Teller, walk: Walk[Words], labels: Labels) -> None:
        self._teller = teller
        self._walk = walk
        self._labels = labels
        self.seat = walk.seat

    def __enter__(self) -> "Turn[Words]":
        return self

    def ready(self) -> bool:
        """Whether the call may leave now; else it must `wait`."""
        if self._walk.pause_s:
            return False
        gate = self.seat.gate
        if gate is None:
            return True
        self._entered = gate.enter_now()
        return self._entered

    async def wait(self) -> None:
        """Wait for a pause's end and for a place. Raises LimitExceeded when there is none."""
        walk, now_s = self._walk, self._teller.clock.now_s
        since_s = now_s()
        if walk.pause_s:
            await asyncio.sleep(walk.pause_s)
            walk.claim(walk.seat, now_s())
        gate = self.seat.gate
        if gate is not None and not self._entered:
            if not gate.enter_now():
                await gate.wait(walk.ask.lane, walk.tenant)
            self._entered = True
        self.queued_s = now_s() - since_s

    def start(self) -> None:
        """The call leaves now."""
        teller, deployment = self._teller, self.seat.deployment
        self.started = True
        self.call_id = teller.call_id()
        notes = self._notes = NOTES.get()
        if notes is not None:
            notes.deployment, notes.call_id = deployment.name, self.call_id
        self.seat.health.in_flight += 1
        choice = deployment.choice
        self._started_s = teller.clock.now_s()
        teller.telemetry.emit(ModelCallStarted(choice.engine, choice.upstream or choice.id))

    def answered(self) -> None:
        """The provider has begun to answer; only the first telling counts."""
        if not self.first_byte_s:
            self._last_s = self._teller.clock.now_s()
            self.first_byte_s = self._last_s - self._started_s

    def saw(self, delta: Delta) -> None:
        """Note what a delta tells of the call."""
        if not self.first_byte_s:
            self.answered()
        else:
            now_s = self._teller.clock.now_s()
            self._longest_gap_s = max(self._longest_gap_s, now_s - self._last_s)
            self._last_s = now_s
            self._gaps += 1
        if delta.finish is not None:
            self.finish = delta.finish
        if delta.usage is not None:
            self.usage = delta.usage

    def signed(self, delta: Delta) -> Delta:
        """The first delta of an answer: it names the model, where that is another one."""
        return delta if self._walk.at_first else replace(delta, choice=self.seat.choice)

    def served(self) -> None:
        """It has answered, or begun to: the walk is at its end."""
        self._note(self._teller.clock.now_s() - self._started_s)
        self.begun = True
        self._walk.served(self.first_byte_s)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if self._entered and self.seat.gate is not None:
            self.seat.gate.leave()
        if self.started:
            if error is not None:
                self._end(error)
            self._tell()
        if error is None:
            return False
        if not isinstance(error, Failure):
            self._walk.abandoned()
            return False
        if self.begun:
            self._walk.broke(error)
            return False
        self._walk.failed(error)
        return True

    def _end(self, error: BaseException) -> None:
        match error:
            case GeneratorExit() | asyncio.CancelledError():
                self.finish = "cancelled"
            case Failure():
                self.error, self.finish = class_of(error), "error"
            case _:
                self.error, self.finish = "other", "error"

    def _tell(self) -> None:
        teller, labels, deployment = self._teller, self._labels, self.seat.deployment
        choice, usage, prices = deployment.choice, self.usage, deployment.prices
        spent = None if prices is None or usage is None else cost(prices, usage)
        if usage is not None and self._walk.account is not None:
            self._walk.account.add(usage, spent)
        session = self._walk.ask.session
        if usage is not None and session is not None and session.spent is not None:
            session.spent(usage, spent)
        self.seat.health.in_flight -= 1
        took_s = teller.clock.now_s() - self._started_s
        # By position: by name it takes seven times as long.
        fact = ModelCalled(
            choice.provider,
            choice.engine,
            choice.upstream or choice.id,
            labels.feature,
            labels.unit_primitive,
            labels.streaming,
            took_s,
            self.first_byte_s,
            usage,
            self.error,
            self.finish,
            labels.who.realm,
            labels.who,
            deployment.name,
            self._walk.tries,
            self.queued_s,
            spent,
            self._walk.warmth,
            self.call_id,
            _operation(self._walk.ask),
            self._gap_s() if self._gaps else 0.0,
            self._longest_gap_s,
        )
        teller.telemetry.emit(fact)
        if not self.begun:
            self._note(took_s)

    def _note(self, took_s: float) -> None:
        """The caller has waited for so long: until something of the answer may reach it."""
        if self._notes is not None:
            waited_s = took_s + self.queued_s
            self._notes.upstream_s += waited_s - self._noted_s
            self._noted_s = waited_s

    def _gap_s(self) -> float:
        """The mean time between pieces."""
        return (self._last_s - self._started_s - self.first_byte_s) / self._gaps


def _operation(ask: Ask | EmbedAsk | RawAsk) -> str:
    """What a call was for, in OpenTelemetry's words."""
    if isinstance(ask, Ask):
        return "text_completion" if isinstance(ask.prompt, Infill) else "chat"
    return "embeddings" if isinstance(ask, EmbedAsk) else "chat"
