"""AWS's event stream: cuts, damage, headers, limits."""

import struct
from binascii import crc32
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.providers._spec import WireEvent
from isthmus.adapters.providers.framing import eventstream
from isthmus.adapters.providers.framing.eventstream import EventStreamParser
from isthmus.core.errors import UpstreamFailed
from tests.support.vendors import message

# Source: AWS SDK for Go, `eventstream` test data: no headers, no payload.
EMPTY = bytes.fromhex("000000100000000005c248eb7d98c8ff")
STREAM = (
    message({":message-type": "event", ":event-type": "one"}, b"first")
    + EMPTY
    + message({":message-type": "exception", ":exception-type": "broken"}, b"{}")
    + message({":message-type": "error", ":error-code": "Internal"}, b"")
    + message({":event-type": "two", "größe": "ü"}, b"\x00" * 20)
)
EVENTS = [
    WireEvent("one", b"first"),
    WireEvent("", b""),
    WireEvent("exception:broken", b"{}"),
    WireEvent("exception:Internal", b""),
    WireEvent("two", b"\x00" * 20),
]


def parsed(*chunks: bytes) -> list[WireEvent]:
    parser = EventStreamParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def framed(headers: bytes, payload: bytes = b"") -> bytes:
    head = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    whole = head + struct.pack(">I", crc32(head)) + headers + payload
    return whole + struct.pack(">I", crc32(whole))


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_cut_gives_the_same_events(borders: list[int]) -> None:
    ends = [0, *sorted(borders), len(STREAM)]
    assert parsed(*(STREAM[a:b] for a, b in pairwise(ends))) == EVENTS


@pytest.mark.parametrize("at", range(len(STREAM)))
def test_damage_anywhere_is_seen(at: int) -> None:
    damaged = bytearray(STREAM)
    damaged[at] ^= 0x10
    with pytest.raises(UpstreamFailed):
        parsed(bytes(damaged))


def test_headers_of_every_type_are_stepped_over() -> None:
    values = [b"\0", b"\1", b"\2a", b"\3ab", b"\4abcd", b"\5abcdefgh", b"\6\0\2ab"]
    values += [b"\x08abcdefgh", b"\x09abcdefghabcdefgh"]
    block = b"".join(b"\1x" + value for value in values)
    assert parsed(framed(block + b"\x0b:event-type\7\0\3one")) == [WireEvent("one", b"")]


@pytest.mark.parametrize(
    "block",
    [b"\5x", b"\1x", b"\1x\7\0", b"\1x\7\0\5ab", b"\1x\x0a", b"\1\xff\7\0\1a", b"\1x\7\0\1\xff"],
)
def test_headers_that_lie(block: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        parsed(framed(block))


@pytest.mark.parametrize(
    ("size", "headers"),
    [
        (eventstream.MESSAGE_LIMIT_BYTES + 1, 0),
        (eventstream.MESSAGE_LIMIT_BYTES, eventstream.HEADERS_LIMIT_BYTES + 1),
        (15, 0),
        (20, 5),
        (0, 0),
        (2**32 - 1, 2**32 - 1),
    ],
)
def test_sizes_are_judged_before_anything_is_kept(size: int, headers: int) -> None:
    head = struct.pack(">II", size, headers)
    with pytest.raises(UpstreamFailed):
        parsed(head + struct.pack(">I", crc32(head)))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    with suppress(UpstreamFailed):
        parsed(data, data)
