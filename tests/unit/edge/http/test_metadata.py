"""`model_metadata`: ignored or refused, as the route has it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.core.messages import ModelMetadata
from isthmus.edge.http.metadata import ABSENT, lenient
from isthmus.routing.metadata import strict

GOOD = {
    "provider": "openai",
    "name": "mistral",
    "identifier": "custom_openai/M",
    "endpoint": "http://vllm.local:8000/v1/",
    "api_key": "k",
    "friendly_name": "ignored",
}


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def test_what_is_said_is_read() -> None:
    expected = ModelMetadata(
        "openai", "mistral", "custom_openai/M", "http://vllm.local:8000/v1", "k"
    )
    assert lenient(raw(GOOD)) == expected
    assert strict(raw(GOOD)) == expected


def test_nothing_is_none() -> None:
    assert lenient(ABSENT) is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"provider": None}, "provider"),
        ({"name": "x" * 256}, "name"),
        ({"api_key": "x" * 2001}, "api_key"),
        ({"endpoint": "ftp://host"}, "endpoint"),
        ({"endpoint": "vllm.local/v1"}, "endpoint"),
        ({"endpoint": "http://[::1"}, "endpoint"),
    ],
)
def test_faults_are_ignored_or_named(change: dict[str, object], named: str) -> None:
    bad = raw(GOOD | change)
    assert lenient(bad) is None
    with pytest.raises(ValueError, match=named):
        strict(bad)


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    found = lenient(msgspec.Raw(data))
    assert found is None or found.provider
