"""The event-stream parser: line ends, cuts, limits."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.providers._spec import WireEvent
from isthmus.adapters.providers.framing import sse
from isthmus.adapters.providers.framing.sse import SseParser
from isthmus.core.errors import UpstreamFailed

STREAM = (
    b"\xef\xbb\xbf: a comment\n\nevent: one\ndata: first\ndata:  second\n\n"
    b"data\n\nid: 7\nretry: 10\n\nevent: dropped\n\ndata:x:y\r\n\r\nevent: cr\rdata: z\r\r"
    b"data: never ended\n"
)
EVENTS = [
    WireEvent("one", b"first\n second"),
    WireEvent("", b""),
    WireEvent("", b"x:y"),
    WireEvent("cr", b"z"),
]


def parsed(*chunks: bytes) -> list[WireEvent]:
    parser = SseParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_every_line_end() -> None:
    assert parsed(STREAM) == EVENTS


def test_byte_by_byte_with_nothing_between() -> None:
    chunks = [STREAM[index : index + 1] for index in range(len(STREAM))]
    assert parsed(*(part for chunk in chunks for part in (chunk, b""))) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_cut_gives_the_same_events(borders: list[int]) -> None:
    ends = [0, *sorted(borders), len(STREAM)]
    assert parsed(*(STREAM[a:b] for a, b in pairwise(ends))) == EVENTS


BLOCKS = (
    b"data: a\n\n",
    b"data:b\n\n",
    b"data: \n\n",
    b"event: one\ndata: c\n\n",
    b"event: two\ndata: \n\n",
    b"event: three\n\n",
    b"data: d\nevent: four\n\n",
    b"data: e\ndata: f\n\n",
    b"event: five\nid: 1\ndata: g\n\n",
    b": a comment\n\n",
    b"\n",
    b"data: h\r\n\r\n",
    b"data: not ended\n",
)


@given(st.lists(st.sampled_from(BLOCKS), max_size=6), st.lists(st.sampled_from(BLOCKS), max_size=6))
def test_events_that_arrive_whole_are_read_as_in_crumbs(
    first: list[bytes], second: list[bytes]
) -> None:
    whole = b"".join(first), b"".join(second)
    text = b"".join(whole)
    assert parsed(*whole) == parsed(*(text[at : at + 1] for at in range(len(text))))


def test_a_line_without_an_end_is_bounded() -> None:
    parser = SseParser()
    parser.feed(b"data: " + b"x" * (sse.LINE_LIMIT_BYTES - 6))
    with pytest.raises(UpstreamFailed):
        parser.feed(b"x")


def test_a_long_line_in_one_piece_is_bounded() -> None:
    with pytest.raises(UpstreamFailed):
        parsed(b"data: " + b"x" * sse.LINE_LIMIT_BYTES + b"\n")


def test_an_event_of_many_lines_is_bounded() -> None:
    line = b"data: " + b"x" * 500_000 + b"\n"
    parser = SseParser()
    for _ in range(sse.EVENT_LIMIT_BYTES // 500_001):
        parser.feed(line)
    with pytest.raises(UpstreamFailed):
        parser.feed(line)
