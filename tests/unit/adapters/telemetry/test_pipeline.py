"""Facts arrive in order, bounded, redacted, and whatever a sink does."""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import cast, get_args

from msgspec.structs import fields, replace

from isthmus.adapters.telemetry.memory import Memory
from isthmus.adapters.telemetry.pipeline import (
    BATCH,
    KNOWN,
    KNOWN_LIMIT,
    PLANS,
    QUEUE_LIMIT,
    LibraryHandler,
    Pipeline,
    Told,
    clean,
)
from isthmus.core.events import REQUEST_ID, Crashed, Fact, Noted, Stopping
from tests.unit.adapters.telemetry.facts import CALLED, SECRET, SERVED


def test_facts_arrive_in_order_with_time_and_request() -> None:
    got: list[Told] = []
    pipeline = Pipeline([got.extend], lambda: 5.0)
    token = REQUEST_ID.set("req-9")
    try:
        for number in range(BATCH * 3):
            pipeline.emit(Stopping(str(number)))
    finally:
        REQUEST_ID.reset(token)
    assert got == []
    pipeline.drain()
    assert got == [(5.0, "req-9", Stopping(str(n))) for n in range(BATCH * 3)]


def test_a_full_queue_drops_counts_and_says_so() -> None:
    memory = Memory(QUEUE_LIMIT * 2)
    pipeline = Pipeline([memory])
    for _ in range(QUEUE_LIMIT + 7):
        pipeline.emit(CALLED)
    pipeline.drain()
    assert len(memory.of(type(CALLED))) == QUEUE_LIMIT
    (note,) = memory.of(Noted)
    assert (note.level, note.details) == ("error", (("count", "7"),))


def test_a_sink_that_fails_hurts_nobody_and_is_told() -> None:
    def broken(batch: Sequence[Told]) -> None:
        raise RuntimeError(str(batch))

    memory = Memory()
    pipeline = Pipeline([broken, memory])
    pipeline.emit(CALLED)
    pipeline.drain()
    pipeline.drain()
    assert memory.facts[0] == CALLED
    assert [note.event for note in memory.of(Noted)] == ["a telemetry sink failed"]


def test_secrets_go_from_every_text_of_a_fact() -> None:
    fact = replace(
        SERVED,
        path=f"/x?private_token={SECRET}",
        user_agent=SECRET,
        bound=(("a", SECRET),),
        fields=(("b", [SECRET, 1]), ("c", {"d": SECRET}), ("e", 2.5), ("f", None)),
    )
    cleaned = clean((1.0, "", fact))[2]
    assert SECRET not in repr(cleaned)
    assert "[REDACTED]" in repr(cleaned)
    assert isinstance(cleaned, type(SERVED))
    assert cleaned.fields[2:] == (("e", 2.5), ("f", None))
    assert (cleaned.method, cleaned.duration_s) == (SERVED.method, SERVED.duration_s)


def test_a_fact_without_secrets_is_the_same_object() -> None:
    told: Told = (1.0, "", SERVED)
    assert clean(told) is told
    assert clean(told) is told


def test_a_secret_is_found_each_time_and_among_texts_that_are_known() -> None:
    clean((1.0, "", SERVED))
    for _ in range(2):
        for hidden in (
            replace(SERVED, user_agent=SECRET),
            replace(SERVED, request_id=SECRET),
            replace(SERVED, fields=(*SERVED.fields, ("x", SECRET))),
            replace(SERVED, bound=(*SERVED.bound, ("x", (1, SECRET)))),
        ):
            assert SECRET not in repr(clean((1.0, "", hidden)))
    assert SECRET not in repr(clean((1.0, "", Stopping(SECRET))))


def test_what_is_remembered_is_bounded_and_holds_neither_ids_nor_secrets() -> None:
    hex_id = "0123456789abcdef" * 2
    for number in range(KNOWN_LIMIT * 2):
        clean((1.0, "", replace(SERVED, request_id=hex_id, user_agent=f"agent {number}")))
        assert len(KNOWN) <= KNOWN_LIMIT
    clean((1.0, "", Stopping(SECRET)))
    clean((1.0, "", Stopping("x" * 1_000)))
    assert {hex_id, SECRET, "x" * 1_000}.isdisjoint(KNOWN)
    assert SERVED.route in KNOWN


def test_every_kind_of_fact_is_cleaned_and_every_text_of_it() -> None:
    assert set(PLANS) == set(get_args(Fact))
    for kind in PLANS:
        values: dict[str, object] = {}
        for item in fields(kind):
            text = SECRET if item.type is str else 0
            values[item.name] = (("x", SECRET),) if str(item.type).startswith("tuple") else text
        make = cast("Callable[..., Fact]", kind)
        assert SECRET not in repr(clean((1.0, "", make(**values))))


def test_a_text_without_bound_is_cut() -> None:
    cleaned = clean((1.0, "", Stopping("x" * 1_000_000)))[2]
    assert isinstance(cleaned, Stopping)
    assert len(cleaned.reason) == 65_536


def test_memory_forgets_the_oldest() -> None:
    memory = Memory(2)
    for word in "abc":
        memory.emit(Stopping(word))
    assert memory.facts == (Stopping("b"), Stopping("c"))


def test_records_of_libraries_become_facts() -> None:
    memory = Memory()
    handler = LibraryHandler(memory.emit)

    def record(level: int, text: str, *args: object) -> logging.LogRecord:
        return logging.LogRecord("grpc.x", level, "f", 1, text, args, None)

    handler.handle(record(logging.WARNING, "slow %s", "thing"))
    handler.handle(record(logging.CRITICAL, "bad %d", "format"))
    crash = record(logging.ERROR, "task died")
    try:
        int("boom")
    except ValueError:
        crash.exc_info = sys.exc_info()
    handler.handle(crash)
    assert memory.facts[0] == Noted("warning", "slow thing", (("logger", "grpc.x"),))
    assert memory.facts[1] == Noted("critical", "bad %d", (("logger", "grpc.x"),))
    last = memory.facts[2]
    assert isinstance(last, Crashed)
    assert (last.where, last.error) == (
        "grpc.x: task died",
        "ValueError: invalid literal for int() with base 10: 'boom'",
    )
    assert "Traceback" in last.trace
    assert handler.level == logging.WARNING
