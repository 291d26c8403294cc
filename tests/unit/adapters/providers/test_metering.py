"""Meters keep little, whatever goes by."""

from collections.abc import Callable

import pytest

from isthmus.adapters.providers.dialects import anthropic, gemini, openai_report
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


ANTHROPIC = b"""{"usage": {"input_tokens": 20, "output_tokens": 10,
    "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 200}}"""
CHAT = b"""{"usage": {"prompt_tokens": 1220, "completion_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 1000},
    "completion_tokens_details": {"reasoning_tokens": 4}}}"""
RESPONSES = b"""{"response": {"usage": {"input_tokens": 1220, "output_tokens": 10,
    "input_tokens_details": {"cached_tokens": 1000},
    "output_tokens_details": {"reasoning_tokens": 4}}}}"""
GEMINI = b"""{"usageMetadata": {"promptTokenCount": 1220, "candidatesTokenCount": 6,
    "thoughtsTokenCount": 4, "cachedContentTokenCount": 1000}}"""


@pytest.mark.parametrize(
    ("read", "document", "told"),
    [
        (anthropic.read_usage, ANTHROPIC, Usage(1220, 10, 1000, 200)),
        (openai_report.read_usage, CHAT, Usage(1220, 10, 1000, 0, 4)),
        (openai_report.read_usage, RESPONSES, Usage(1220, 10, 1000, 0, 4)),
        (gemini.read_usage, GEMINI, Usage(1220, 10, 1000, 0, 4)),
    ],
    ids=["anthropic", "chat", "responses", "gemini"],
)
def test_cached_tokens_are_input_and_reasoning_is_output_whatever_a_wire_counts(
    read: Callable[[bytes, Usage | None], Usage | None], document: bytes, told: Usage
) -> None:
    assert read(document, None) == told
