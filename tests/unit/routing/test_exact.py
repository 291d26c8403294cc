"""Which calls are the same, whose answers are kept, and for how long."""

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from isthmus.core.messages import (
    Answer,
    Chat,
    EmbedCall,
    Embeddings,
    Infill,
    Message,
    ModelCall,
    Target,
    Text,
    ToolResult,
    ToolSpec,
    ToolUse,
    Tuning,
)
from isthmus.routing.exact import Exact, key_of

NOW_S = 1000.0
SCHEMA = {"type": "object", "properties": {"a": 1, "b": 2}}
CHAT = Chat((Message("user", (Text("Hi"),)),), (ToolSpec("t", "d", SCHEMA),))
CALL = ModelCall("upstream", CHAT, 64, 0.0, ("x",), Tuning(top_k=1))
EMBED = EmbedCall("upstream", ("a", "b"))
ANSWER = Answer("text", (ToolUse("1", "t", "{}"),), "stop", None)


def put(exact: Exact, name: bytes, text: str = "") -> None:
    exact.put(name, Answer(text, (), "stop", None), NOW_S)


@pytest.mark.parametrize("call", [CALL, EMBED])
def test_the_same_call_of_the_same_tenant_has_the_same_key(call: ModelCall | EmbedCall) -> None:
    again = replace(call, model="other name, elsewhere", target=Target(api_key="other key"))
    assert key_of("t", "m", call) == key_of("t", "m", again) is not None


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, max_tokens=65),
        replace(CALL, stop=()),
        replace(CALL, tuning=Tuning(top_k=2)),
        replace(CALL, target=Target(base_url="https://own.example")),
        replace(CALL, prompt=Infill("Hi", "")),
        replace(CALL, prompt=replace(CHAT, tools=())),
        replace(CALL, prompt=replace(CHAT, messages=(Message("user", (Text("Hi!"),)),))),
        replace(CALL, prompt=replace(CHAT, messages=(Message("user", (ToolResult("1", "Hi"),)),))),
        EMBED,
    ],
)
def test_another_call_has_another_key(other: ModelCall | EmbedCall) -> None:
    assert key_of("t", "m", other) not in (None, key_of("t", "m", CALL))


def test_embeddings_differ_by_all_that_is_said() -> None:
    others = [
        EMBED,
        replace(EMBED, texts=("ab",)),
        replace(EMBED, texts=("a", "c")),
        replace(EMBED, dimensions=3),
        replace(EMBED, drop_unsupported=True),
    ]
    assert len({key_of("t", "m", other) for other in others}) == len(others)


@given(*[st.text(max_size=3)] * 4)
def test_no_tenant_shares_a_key(one: str, model: str, other: str, model_too: str) -> None:
    same = key_of(one, model, CALL) == key_of(other, model_too, CALL) is not None
    assert same == ((one, model) == (other, model_too) and one != "")


def test_the_order_of_a_schema_does_not_matter() -> None:
    turned = MappingProxyType({"properties": {"b": 2, "a": 1}, "type": "object"})
    tools = (ToolSpec("t", "d", turned),)
    assert key_of("t", "m", replace(CALL, prompt=replace(CHAT, tools=tools))) == key_of(
        "t", "m", CALL
    )


@pytest.mark.parametrize("temperature", [None, 0.2])
def test_what_may_differ_each_time_has_none(temperature: float | None) -> None:
    assert key_of("t", "m", replace(CALL, temperature=temperature)) is None


def test_what_has_no_encoding_has_none() -> None:
    assert key_of("t", "m", EmbedCall("m", ("\ud800",))) is None


def test_a_schema_that_is_no_data_is_a_bug() -> None:
    odd = replace(CALL, prompt=replace(CHAT, tools=(ToolSpec("t", "d", {"a": object()}),)))
    with pytest.raises(NotImplementedError):
        key_of("t", "m", odd)


def test_an_answer_counts_for_its_time() -> None:
    exact = Exact(ttl_s=10.0)
    exact.put(b"k", ANSWER, NOW_S)
    assert exact.get(b"k", NOW_S + 9.9) == ANSWER
    assert exact.get(b"other", NOW_S) is None
    assert exact.get(b"k", NOW_S + 10.0) is None
    assert (len(exact), exact.size_bytes) == (0, 0)


def test_a_newer_answer_replaces_the_older() -> None:
    exact = Exact(ttl_s=10.0)
    exact.put(b"k", ANSWER, NOW_S)
    size_bytes = exact.size_bytes
    exact.put(b"k", ANSWER, NOW_S + 5.0)
    assert exact.size_bytes == size_bytes
    assert exact.get(b"k", NOW_S + 14.0) == ANSWER


def test_the_least_recently_used_go_first() -> None:
    exact = Exact(limit_bytes=32 * 1024)
    names = [b"%d" % n for n in range(20)]
    for name in names:
        put(exact, name, "x" * 700)
        exact.get(b"0", NOW_S)
    kept = [name for name in names if exact.get(name, NOW_S)]
    assert exact.size_bytes <= 32 * 1024
    assert kept[0] == b"0"
    assert kept[1:] == names[-len(kept) + 1 :]
    assert len(kept) > 10


def test_what_is_too_large_is_not_kept_and_displaces_nothing_but_itself() -> None:
    exact = Exact(limit_bytes=64 * 1024)
    put(exact, b"small")
    put(exact, b"k")
    put(exact, b"k", "x" * 5000)
    assert exact.get(b"k", NOW_S) is None
    assert exact.get(b"small", NOW_S) is not None


def test_vectors_weigh_by_their_length() -> None:
    exact = Exact()
    exact.put(b"k", Embeddings([[0.5] * 768] * 2), NOW_S)
    assert exact.size_bytes > 2 * 768 * 32
