"""Forwarded events: every byte passes, but for a secret, however the events cut it."""

import json
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from isthmus.core.errors import Withheld
from isthmus.redaction.relayed import EVENT_BYTES, WAITING_BYTES, EventFilter
from isthmus.redaction.rules import MARK, Found, redact, shipped
from tests.support.secrets import generated

KEY = "sk_live_" + "A1b2C3d4E5f6G7h8"
CHUNKS = (1, 3, 17, 100, 1 << 20)
Wire = Callable[[list[str]], list[bytes]]


def mark(_: Found, __: bytes) -> bytes:
    return MARK.encode()


def event(said: object, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(said)}\n\n".encode()


def anthropic(pieces: list[str]) -> list[bytes]:
    delta = {"type": "content_block_delta", "index": 0}
    return [
        event({"type": "message_start", "message": {"id": "m1", "content": []}}, "message_start"),
        event({"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}),
        event({"type": "ping"}, "ping"),
        *(event(delta | {"delta": {"type": "text_delta", "text": one}}) for one in pieces),
        event({"type": "content_block_stop", "index": 0}, "content_block_stop"),
        event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}),
        event({"type": "message_stop"}, "message_stop"),
    ]


def arguments(pieces: list[str]) -> list[bytes]:
    delta = {"type": "content_block_delta", "index": 1}
    parts = ['{"text": "', *(json.dumps(one)[1:-1] for one in pieces), '"}']
    return [
        event({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use"}}),
        *(event(delta | {"delta": {"type": "input_json_delta", "partial_json": p}}) for p in parts),
        event({"type": "content_block_stop", "index": 1}),
    ]


def chat(pieces: list[str]) -> list[bytes]:
    def chunk(delta: object, finish: str | None = None) -> bytes:
        return event({"id": "c1", "choices": [{"index": 0, "delta": delta, "finish": finish}]})

    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": one}) for one in pieces),
        chunk({}, "stop"),
        b": keep-alive\n\n",
        b"data: [DONE]\n\n",
    ]


def responses(pieces: list[str]) -> list[bytes]:
    head = {"type": "response.output_text.delta", "item_id": "i1", "output_index": 0}
    whole = "".join(pieces)
    return [
        event({"type": "response.created", "response": {"id": "r1"}}, "response.created"),
        *(event(head | {"content_index": 0, "delta": one}) for one in pieces),
        event({"type": "response.output_text.done", "item_id": "i1", "text": whole}),
        event({"type": "response.completed", "response": {"output": [{"text": whole}]}}),
    ]


def gemini(pieces: list[str]) -> list[bytes]:
    return [
        event({"candidates": [{"content": {"parts": [{"text": one}], "role": "model"}}]})
        for one in pieces
    ]


WIRES: list[Wire] = [anthropic, arguments, chat, responses, gemini]


def passed(events: bytes, size: int = 1 << 20) -> bytes:
    through = EventFilter(shipped(), 4_096, mark)
    parts = [through.feed(events[at : at + size]) for at in range(0, len(events), size)]
    return b"".join(parts) + through.finish()


def text_of(events: bytes, wire: Wire) -> str:
    """What a client reads of the deltas."""
    texts: list[str] = []
    for line in events.split(b"\n"):
        if line.startswith(b"data: {"):
            said: dict[str, Any] = json.loads(line[6:])
            delta = said.get("delta")
            if isinstance(delta, dict):
                delta = cast("dict[str, str]", delta)
                texts.append(delta.get("text", delta.get("partial_json", "")))
            elif isinstance(delta, str):
                texts.append(delta)
            for choice in said.get("choices", ()):
                texts.append(choice["delta"].get("content", ""))
            for candidate in said.get("candidates", ()):
                texts.append(candidate["content"]["parts"][0]["text"])
    whole = "".join(texts)
    return json.loads(whole)["text"] if wire is arguments else whole


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("size", CHUNKS)
def test_clean_events_pass_to_the_byte(wire: Wire, size: int) -> None:
    pieces = ["The sk", "-learn ", "key is ", "pass", "word = ", '"x" s', "k-", "ü\n", "gh", ""]
    for end in ("\n", "\r\n"):
        events = b"".join(wire(pieces)).replace(b"\n", end.encode())
        assert passed(events, size) == events


def test_clean_chunks_are_the_same_objects() -> None:
    through = EventFilter(shipped(), 4_096, mark)
    for chunk in anthropic(["This ", "is ", "a text, ", "and no more.\n"]):
        assert through.feed(chunk) is chunk
    assert through.finish() == b""


@pytest.mark.parametrize("wire", WIRES)
def test_a_secret_is_found_however_events_cut_it(wire: Wire) -> None:
    for one in generated(65):
        text = f"see {one.text}; there é"
        for cut in range(4, len(text), 5):
            pieces = [text[:cut], text[cut : cut + 9], text[cut + 9 :]]
            events = wire(pieces)
            new = passed(b"".join(events))
            # Not in the deltas, and not where some wires repeat the whole text.
            assert text_of(new, wire) == redact(text), (one.rule, cut)
            assert json.dumps(one.secret)[1:-1].encode() not in new
            # What surrounds the text stays to the byte.
            assert wire is gemini or new.startswith(events[0])


def test_events_that_hold_no_part_of_it_stay_to_the_byte() -> None:
    events = anthropic(["This ", f"is {KEY[:10]}", f"{KEY[10:]} ", "it.\n"])
    new = passed(b"".join(events))
    assert [one in new for one in events] == [True] * 4 + [False, False] + [True] * 4
    assert text_of(new, anthropic) == f"This is {MARK} it.\n"


def test_text_goes_on_as_soon_as_it_may() -> None:
    through = EventFilter(shipped(), 4_096, mark)
    for chunk in anthropic(["This "])[:4]:
        assert through.feed(chunk) is chunk
    delta = {"type": "content_block_delta", "index": 0}
    first = event(delta | {"delta": {"type": "text_delta", "text": "a sk"}})
    second = event(delta | {"delta": {"type": "text_delta", "text": "ill "}})
    ping = event({"type": "ping"}, "ping")
    assert through.feed(first) == b""
    assert through.feed(ping) == b""
    assert through.feed(second) == first + ping + second


def test_other_texts_of_an_answer_do_not_mix() -> None:
    def chunk(index: int, text: str) -> bytes:
        return event({"choices": [{"index": index, "delta": {"content": text}}]})

    events = [chunk(0, KEY[:12]), chunk(1, KEY[12:]), chunk(0, " is"), chunk(1, " no key")]
    assert passed(b"".join(events)) == b"".join(events)
    events = [chunk(0, KEY[:12]), chunk(1, "no "), chunk(0, KEY[12:]), chunk(1, "key")]
    new = passed(b"".join(events))
    assert KEY[12:].encode() not in new
    assert events[1] in new


def test_a_key_longer_than_the_window_is_cut_from_every_event() -> None:
    body = "".join(f"{number:064x}\n" for number in range(300))
    text = f"a -----BEGIN PRIVATE {'KEY'}-----\n{body}-----END PRIVATE {'KEY'}-----\nb."
    for size in (11, 64, 5_000):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        new = passed(b"".join(anthropic(pieces)))
        assert text_of(new, anthropic) == f"a {MARK}\nb."


def test_other_events_are_cleaned_as_json() -> None:
    error = event({"type": "error", "error": {"message": f"bad key {KEY}!"}}, "error")
    assert passed(error) == error.replace(KEY.encode(), MARK.encode())


def test_a_cut_stream_gives_what_it_has() -> None:
    events = b"".join(chat(["It is ", "a sk-"])[:-3])
    assert passed(events) == events
    assert passed(events + b'data: {"choices"') == events + b'data: {"choices"'
    through = EventFilter(shipped(), 4_096, mark)
    assert through.finish() == b""


def test_what_a_mark_raises_is_raised() -> None:
    def refuse(_: Found, __: bytes) -> bytes:
        raise Withheld("no", "stripe-key")

    through = EventFilter(shipped(), 4_096, refuse)
    with pytest.raises(Withheld):
        through.feed(b"".join(anthropic([f"{KEY} ."])))


def test_what_waits_and_what_is_large_is_bounded() -> None:
    through = EventFilter(shipped(), 4_096, mark)
    through.feed(event({"choices": [{"index": 0, "delta": {"content": "a sk-"}}]}))
    other = event({"choices": [{"index": 1, "delta": {"content": "word " * 1_000}}]})
    passing = [through.feed(other) for _ in range(WAITING_BYTES // len(other) + 2)]
    assert b"sk-" in b"".join(passing)
    huge = b'data: {"b": "' + b"a " * (EVENT_BYTES // 2) + KEY.encode() + b'"'
    assert KEY.encode() not in through.feed(huge) + through.finish()


def test_many_events_take_linear_time() -> None:
    def took_s(count: int) -> float:
        events = b"".join(chat(["token = sk-", "a "] * count))
        start = time.process_time()
        passed(events)
        return time.process_time() - start

    took_s(10)
    # Eight times as many; quadratic time would be 64 times as long, each time.
    ratios = (took_s(4_000) / (took_s(500) + 0.001) for _ in range(5))
    assert any(ratio < 32 for ratio in ratios)
