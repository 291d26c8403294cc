"""The head of an answer leaves with its body, and never stays behind."""

import asyncio
from typing import Any

import pytest

from isthmus.edge.http.cork import JOIN_LIMIT_BYTES, Cork

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Wire(asyncio.Transport):
    """Remembers what was written, and how it ended."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.pieces: list[bytes] = []
        self.ended = ""

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def is_closing(self) -> bool:
        return bool(self.ended)


async def test_head_and_body_leave_in_one_piece() -> None:
    wire = Wire()
    cork = Cork(wire)
    cork.write(HEAD)
    assert wire.pieces == []
    cork.write(b"{}")
    assert wire.pieces == [HEAD + b"{}"]
    await asyncio.sleep(0)
    assert wire.pieces == [HEAD + b"{}"]


async def test_a_head_alone_leaves_within_this_turn_of_the_loop() -> None:
    wire = Wire()
    Cork(wire).write(HEAD)
    await asyncio.sleep(0)
    assert wire.pieces == [HEAD]


async def test_chunks_that_follow_leave_as_they_come() -> None:
    wire = Wire()
    cork = Cork(wire)
    for piece in (HEAD, b"one", b"two"):
        cork.write(piece)
    assert wire.pieces == [HEAD + b"one", b"two"]


async def test_a_large_body_is_not_copied() -> None:
    wire = Wire()
    cork = Cork(wire)
    body = bytes(JOIN_LIMIT_BYTES + 1)
    cork.write(HEAD)
    cork.write(body)
    assert wire.pieces == [HEAD, body]


async def test_two_answers_in_one_turn_keep_their_order() -> None:
    wire = Wire()
    cork = Cork(wire)
    for piece in (HEAD, b"{}", HEAD, b"[]"):
        cork.write(piece)
    assert b"".join(wire.pieces) == HEAD + b"{}" + HEAD + b"[]"


async def test_two_heads_in_a_row_are_both_sent() -> None:
    wire = Wire()
    cork = Cork(wire)
    cork.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    cork.write(HEAD)
    await asyncio.sleep(0)
    assert b"".join(wire.pieces) == b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD


@pytest.mark.parametrize(("end", "pieces"), [("close", [HEAD]), ("abort", [])])
async def test_closing_sends_what_is_held_back_and_aborting_drops_it(
    end: str, pieces: list[bytes]
) -> None:
    wire = Wire()
    cork = Cork(wire)
    cork.write(HEAD)
    getattr(cork, end)()
    await asyncio.sleep(0)
    assert wire.pieces == pieces
    assert cork.is_closing()
    assert cork.get_extra_info("peername") == ("127.0.0.1", 1)
