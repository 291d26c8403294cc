"""Spans of requests: which trace they belong to, and what a hostile header makes of it."""

import asyncio

import pytest

from isthmus.core.trace import TRACE, Trace, Traces, deepen

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


def test_a_caller_s_trace_goes_on_with_its_state_and_its_choice() -> None:
    traces = Traces(0.0, believe=True)
    found = traces.begin(PARENT, "a=1")
    assert (found.trace_id, found.parent_id, found.sent, found.state) == (
        *(TRACE_ID, SPAN_ID),
        *(True, "a=1"),
    )
    assert found.span_id not in (SPAN_ID, "0" * 16)
    assert dict(found.headers()) == {
        "traceparent": f"00-{TRACE_ID}-{found.span_id}-01",
        "tracestate": "a=1",
    }
    quiet = Traces(1.0, believe=True).begin(PARENT[:-2] + "00")
    assert not quiet.sent
    assert quiet.headers() == (("traceparent", f"00-{TRACE_ID}-{quiet.span_id}-00"),)


def test_later_versions_are_read_as_the_first_one_is() -> None:
    assert Traces(1.0, believe=True).begin(f"cc{PARENT[2:]}-what-comes").trace_id == TRACE_ID


@pytest.mark.parametrize(
    "parent",
    [
        *("", "x", PARENT.upper(), PARENT[:-1], f"{PARENT}-more", f"ff{PARENT[2:]}", f" {PARENT}"),
        *(f"00-{'0' * 32}-{SPAN_ID}-01", f"00-{TRACE_ID}-{'0' * 16}-01", PARENT + "\n"),
        "00-" + "a" * 100_000,
    ],
)
def test_what_is_malformed_begins_a_trace(parent: str) -> None:
    found = Traces(1.0, believe=True).begin(parent, "a=1")
    assert found.trace_id != TRACE_ID
    assert (found.parent_id, found.state, len(found.trace_id)) == ("", "", 32)


def test_a_state_that_is_no_header_is_dropped() -> None:
    for state in ("a" * 513, "a\r\nb", "\u00e9"):
        assert Traces(1.0, believe=True).begin(PARENT, state).state == ""


def test_nobody_is_believed_where_it_is_switched_off() -> None:
    assert Traces(1.0, believe=False).begin(PARENT).trace_id != TRACE_ID


def test_a_share_of_the_traces_is_sent() -> None:
    assert not Traces(0.0, believe=True).begin().sent
    assert Traces(1.0, believe=True, bits=lambda count: 2**count - 1).begin().sent
    assert Traces(0.5, believe=True, bits=lambda _: 2**55 - 1).begin().sent
    assert not Traces(0.5, believe=True, bits=lambda _: 2**55).begin().sent


def test_no_id_is_ever_zero() -> None:
    found = Traces(1.0, believe=True, bits=lambda _: 0).begin()
    assert int(found.trace_id, 16) == int(found.span_id, 16) == 1


async def test_a_span_inside_lasts_as_long_as_its_task() -> None:
    outer = Trace(TRACE_ID, SPAN_ID, sent=True, state="a=1")

    async def inside() -> Trace | None:
        deepen()
        return TRACE.get()

    async def around() -> tuple[Trace | None, Trace | None]:
        TRACE.set(outer)
        return await asyncio.gather(inside(), asyncio.sleep(0, TRACE.get()))

    inner, still = await around()
    assert still is outer
    assert inner is not None
    assert (inner.trace_id, inner.parent_id, inner.sent, inner.state) == (
        *(TRACE_ID, SPAN_ID),
        *(True, "a=1"),
    )


def test_there_is_nothing_inside_of_nothing() -> None:
    deepen()
    assert TRACE.get() is None
