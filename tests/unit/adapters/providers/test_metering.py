"""Meters keep little, whatever goes by."""

from isthmus.adapters.providers.dialects.anthropic import AnthropicDialect
from isthmus.adapters.providers.dialects.metering import LIMIT_BYTES, DocumentMeter, EventMeter
from isthmus.adapters.providers.dialects.openai import OpenAIDialect
from isthmus.core.messages import Usage

PAD = b'{"pad":"' + b"x" * LIMIT_BYTES + b'","usage":{"input_tokens":1,"output_tokens":1}}'


def test_a_document_that_is_too_big_tells_nothing() -> None:
    meter = AnthropicDialect().meter("application/json")
    assert meter(PAD) is None
    assert meter(b'{"usage":{"input_tokens":1,"output_tokens":1}}') is None


def test_an_event_that_is_too_big_is_skipped_and_the_next_one_read() -> None:
    meter = AnthropicDialect().meter("text/event-stream")
    event = b'data: {"type":"message_delta","usage":{"output_tokens":7}}\n\n'
    assert meter(b"data: " + PAD + b"\n\n" + event) == Usage(output_tokens=7)
    meter = AnthropicDialect().meter("text/event-stream")
    for index in range(0, len(PAD), 1000):
        assert meter(b"data: "[: 6 * (index == 0)] + PAD[index : index + 1000]) is None
    assert meter(b"\n\n" + event) == Usage(output_tokens=7)


def test_a_body_in_crumbs_is_not_read_for_ever() -> None:
    tries = 0

    def read(_document: bytes, known: Usage | None) -> Usage | None:
        nonlocal tries
        tries += 1
        return known

    meter = DocumentMeter(read)
    for _ in range(10_000):
        meter(b"}")
    assert tries <= 256


def test_what_is_no_json_tells_nothing() -> None:
    for body in (b"}", b"<html>}", b"[" * 50_000 + b"}", b'{"usage":7}'):
        assert AnthropicDialect().meter("application/json")(body) is None
        assert OpenAIDialect(own=True, completions=False).meter("")(body) is None
        line = b"data: " + body + b' "usage"\n'
        assert AnthropicDialect().meter("text/event-stream")(line) is None


def test_text_that_speaks_of_usage_is_not_usage() -> None:
    meter = EventMeter(lambda document, _known: Usage(len(document)))
    assert meter(b'event: "usage"\nid: "usage"\n') is None
