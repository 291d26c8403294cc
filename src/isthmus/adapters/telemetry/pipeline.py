"""Where facts go: a bounded queue, emptied in small batches by the loop, redacted, then told.

`emit` costs its caller well under a microsecond. Batches are short, so that no request waits long
behind them; blocking writes are the business of the sinks' own threads.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from operator import attrgetter
from typing import Any, TypeAlias, cast, get_args

from msgspec.structs import fields, replace

from isthmus.core.events import REQUEST_ID, Crashed, Fact, Noted
from isthmus.redaction.rules import ID, redact, suspicious

QUEUE_LIMIT = 50_000
BATCH = 16
LONG = 128
SHARE = 8
PAUSE_S = 0.1
TEXT_LIMIT_CHARS = 65_536
KNOWN_LIMIT = 4_096
KNOWN_LIMIT_CHARS = 256
ADDRESS_LIMIT_CHARS = 21
_request_id = REQUEST_ID.get


Told: TypeAlias = tuple[float, str, Fact]
"""The second (since the epoch) and the request in which a fact was told, and the fact.

A plain tuple: one is made for every fact, and it costs a fifth of a named one.
"""
Sink = Callable[[Sequence[Told]], None]
"""Reads a batch, in order; runs on the loop, so it never waits."""
Tap = Callable[[Fact], None]
"""Hears a fact where it is told, in the context of the request; it never raises."""
Lag = Callable[[float], None]
"""Hears by how many seconds the loop was late at worst, ten times a second; never raises."""


class Pipeline:
    """The Telemetry of a process. `emit` may be called by any thread, the rest by the loop's."""

    def __init__(
        self,
        sinks: Sequence[Sink],
        now_s: Callable[[], float] = time.time,
        tap: Tap | None = None,
        lag: Lag | None = None,
    ) -> None:
        self._sinks = tuple(sinks)
        self._tap = tap
        self._lag = lag
        self._late_s = 0.0
        self._told_s = 0.0
        self._now_s = now_s
        self._queue: deque[Told] = deque()
        self._dropped = 0
        self._broken = 0
        self._timer: asyncio.Handle | None = None

    def emit(self, fact: Fact) -> None:
        """Take a fact; when the queue is full it is dropped and counted."""
        queue, tap = self._queue, self._tap
        if len(queue) >= QUEUE_LIMIT:
            self._dropped += 1
            return
        queue.append((self._now_s(), _request_id(), fact))
        if tap is not None:
            tap(fact)

    def join(self, sink: Sink) -> None:
        """Tell one more sink what comes from now on."""
        self._sinks += (sink,)

    def drain(self) -> None:
        """Tell the sinks everything that is queued now."""
        while self._step():
            pass

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to tell the sinks, every PAUSE_S or as fast as facts come."""
        self._tick(loop, time.monotonic())

    def stop(self) -> None:
        """Stop the timer and tell what is left."""
        if self._timer is not None:
            self._timer.cancel()
        self.drain()

    def _tick(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        self._look(time.monotonic(), due_s)
        more = self._step()
        now_s = time.monotonic()
        if more:
            self._timer = loop.call_soon(self._tick, loop, now_s)
        else:
            self._timer = loop.call_later(PAUSE_S, self._tick, loop, now_s + PAUSE_S)

    def _look(self, now_s: float, due_s: float) -> None:
        """Tell the worst lateness of each PAUSE_S: a busy loop, which looks more often, as well."""
        self._late_s = max(self._late_s, now_s - due_s)
        if self._lag is not None and now_s >= self._told_s + PAUSE_S:
            self._lag(self._late_s)
            self._late_s, self._told_s = 0.0, now_s

    def _step(self) -> bool:
        """Tell one batch; whether more is waiting."""
        queue = self._queue
        batch: list[Told] = []
        waiting = len(queue)
        # Half of what waits, but no more than a request can wait for; more of it under load.
        for _ in range(min(waiting, max(BATCH, min(waiting // 2, LONG), waiting // SHARE))):
            try:
                batch.append(clean(queue.popleft()))
            except Exception:  # noqa: BLE001 - a fact that is not what its type says is lost alone
                self._broken += 1
        if self._dropped:
            lost, self._dropped = self._dropped, 0
            batch.append(self._note("facts were dropped: the queue was full", lost))
        if self._broken:
            failed, self._broken = self._broken, 0
            batch.append(self._note("a telemetry sink failed", failed))
        if batch:
            for sink in self._sinks:
                try:
                    sink(batch)
                except Exception:  # noqa: BLE001 - telemetry must not break what it watches
                    self._broken += 1
        return bool(queue)

    def _note(self, event: str, count: int) -> Told:
        return self._now_s(), "", Noted("error", event, (("count", str(count)),))


@asynccontextmanager
async def open_telemetry(
    *sinks: Sink, tap: Tap | None = None, lag: Lag | None = None
) -> AsyncIterator[Pipeline]:
    """The pipeline, running on this loop; warnings of libraries go into it as well.

    Leaving tells the sinks everything that is left. Sinks are opened and closed by the caller.
    """
    pipeline = Pipeline(sinks, tap=tap, lag=lag)
    pipeline.start(asyncio.get_running_loop())
    try:
        with _library_logs(pipeline):
            yield pipeline
    finally:
        pipeline.stop()


class LibraryHandler(logging.Handler):
    """Turns log records of libraries into facts."""

    def __init__(self, emit: Callable[[Fact], None]) -> None:
        super().__init__(logging.WARNING)
        self._emit_fact = emit

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a record: as Crashed when it carries an exception, else as Noted."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = str(record.msg)
        if record.exc_info and record.exc_info[1] is not None:
            trace = logging.Formatter().formatException(record.exc_info)
            error = record.exc_info[1]
            text = f"{type(error).__name__}: {error}"
            self._emit_fact(Crashed(where=f"{record.name}: {message}", error=text, trace=trace))
            return
        level = "warning" if record.levelno < logging.ERROR else "error"
        if record.levelno >= logging.CRITICAL:
            level = "critical"
        self._emit_fact(Noted(level, message, (("logger", record.name),)))


@contextmanager
def _library_logs(pipeline: Pipeline) -> Iterator[None]:
    handler = LibraryHandler(pipeline.emit)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def clean(told: Told) -> Told:
    """The same, with secrets in every text of the fact replaced; most facts pass untouched."""
    fact = told[2]
    texts, ids, pairs = PLANS[type(fact)]
    # Most texts of a fact come again and again (routes, versions, agents): looking them up is all.
    if texts is not None and not KNOWN.issuperset(found := texts(fact)):
        for text in found:
            if text not in KNOWN and not _harmless(text):
                return _cleaned(told)
    if ids is not None:
        for text in ids(fact):
            if not _harmless(text):
                return _cleaned(told)
    if pairs is not None:
        for held in pairs(fact):
            if not _all_harmless(held):
                return _cleaned(told)
    return told


def _all_harmless(held: "Pairs") -> bool:
    """Whether no value of these pairs holds a secret."""
    for _, item in held:
        if type(item) is str:
            text = item
        elif type(item) in _HARMLESS:
            continue
        else:
            text = str(item)
        if text not in KNOWN and not _harmless(text):
            return False
    return True


def _harmless(text: str) -> bool:
    """Whether a text holds no secret; short ones that do not are remembered, a few thousand."""
    size = len(text)
    if size > TEXT_LIMIT_CHARS:
        return False
    # Ids do not come again; numbers and addresses, which look the same and are shorter, do.
    shaped = ID.fullmatch(text) is not None
    if not shaped and suspicious(text):
        return False
    if size <= (ADDRESS_LIMIT_CHARS if shaped else KNOWN_LIMIT_CHARS):
        if len(KNOWN) >= KNOWN_LIMIT:
            KNOWN.clear()
        KNOWN.add(text)
    return True


def _cleaned(told: Told) -> Told:
    at_s, request_id, fact = told
    texts, pairs = _names(type(fact))
    changes: dict[str, object] = {name: _redacted(getattr(fact, name)) for name in texts}
    for name in pairs:
        held = cast("Pairs", getattr(fact, name))
        changes[name] = tuple((key, _redacted(value)) for key, value in held)
    return at_s, request_id, replace(fact, **changes)


def _names(kind: type[Fact]) -> tuple[list[str], list[str]]:
    """The fields of a fact that are text, and those that are pairs of name and value."""
    texts = [item.name for item in fields(kind) if item.type is str]
    pairs = [item.name for item in fields(kind) if str(item.type).startswith("tuple[tuple[")]
    return texts, pairs


def _plan(kind: type[Fact]) -> "Plan":
    texts, pairs = _names(kind)
    others = [name for name in texts if name not in _IDS]
    return _getter(others), _getter([name for name in texts if name in _IDS]), _getter(pairs)


def _getter(names: list[str]) -> Callable[[Fact], tuple[Any, ...]] | None:
    if not names:
        return None
    # Of a single name attrgetter returns a bare value: named twice, it is a tuple as well.
    return attrgetter(*names, *names) if len(names) == 1 else attrgetter(*names)


def _redacted(value: object, depth: int = 4) -> object:
    if isinstance(value, str):
        return redact(value[:TEXT_LIMIT_CHARS])
    if type(value) in _HARMLESS:
        return value
    if depth and isinstance(value, list | tuple | set | frozenset):
        items = cast("Iterable[object]", value)
        return [_redacted(item, depth - 1) for item in items]
    if depth and isinstance(value, dict):
        held = cast("dict[object, object]", value)
        return {str(key): _redacted(item, depth - 1) for key, item in held.items()}
    return redact(str(value)[:TEXT_LIMIT_CHARS])


Pairs = tuple[tuple[str, object], ...]
_IDS = frozenset({"request_id", "call_id"})
"""Texts that are new with every fact; as a rule their shape says that they are no secret."""
Plan = tuple[
    Callable[[Fact], tuple[str, ...]] | None,
    Callable[[Fact], tuple[str, ...]] | None,
    Callable[[Fact], tuple[Pairs, ...]] | None,
]
"""Gets a fact's texts, its ids, and its pairs, at once; numbers and flags are never looked at."""
PLANS: dict[type[Fact], Plan] = {kind: _plan(kind) for kind in get_args(Fact)}
KNOWN: set[str] = set()
"""Texts that were found to hold no secret; the loop's thread alone uses it."""
_HARMLESS = frozenset({int, float, bool, type(None)})
