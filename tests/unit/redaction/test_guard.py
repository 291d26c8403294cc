"""What may leave and what may come back, by mode, feature and destination."""

import json

import pytest

from isthmus.core.errors import Withheld
from isthmus.core.events import SecretFound
from isthmus.core.messages import (
    Answer,
    Chat,
    ContextItem,
    Delta,
    Destination,
    Infill,
    Message,
    Text,
    ToolResult,
    ToolUse,
    Usage,
)
from isthmus.core.policies import Guard, RelayedFilter
from isthmus.redaction.guard import SecretGuard, open_guard
from isthmus.settings import SettingsError
from isthmus.settings_redaction import OwnRule, RedactionOverride, RedactionSettings
from tests.support.secrets import generated
from tests.support.sink import MemorySink

KEY = "sk_live_" + "A1b2C3d4E5f6G7h8"
GITLAB = "glpat" + "-abcDEF123_-ghiJKL456"
OUT = Destination("duo_chat", "anthropic", "anthropic-eu")
MARK = "[REDACTED]"


class Marks:
    def mark(self, rule: str, secret: str) -> str:
        return f"<{rule}:{len(secret)}>"


def guard(sink: MemorySink | None = None, **settings: object) -> SecretGuard:
    made = open_guard(RedactionSettings.model_validate(settings), sink or MemorySink())
    assert made is not None
    port: Guard = made
    assert port is made
    return made


def chat(text: str) -> Chat:
    return Chat(
        (
            Message("system", (Text("Be kind."),)),
            Message("user", (Text(text),)),
            Message("assistant", (ToolUse("1", "write", json.dumps({"text": text})),)),
            Message("user", (ToolResult("1", text), Text("go on"))),
        )
    )


def test_what_looks_at_nothing_is_no_guard() -> None:
    assert open_guard(RedactionSettings(), MemorySink()) is None
    off = RedactionOverride(destination="local", prompt="off")
    assert open_guard(RedactionSettings(overrides=(off,)), MemorySink()) is None


def test_a_clean_prompt_is_the_same_object() -> None:
    made = guard(prompt="redact", tool_result="block", answer="redact")
    clean = chat("nothing here, not even a token = value")
    guarded = made.call(clean, OUT)
    assert guarded is not None
    assert guarded.prompt is clean
    infill = Infill("def a", "return", context=(ContextItem("file", "a.py", "pass"),))
    found = made.call(infill, OUT)
    assert found is not None
    assert found.prompt is infill
    texts = ("one", "two")
    assert made.texts(texts, OUT) is texts
    body = b'{"model": "m", "messages": [{"role": "user", "content": "token = value"}]}'
    assert made.body(body, OUT) is body


def test_secrets_of_a_chat_are_replaced_and_told() -> None:
    sink = MemorySink()
    guarded = guard(sink, prompt="redact", tool_result="redact").call(chat(f"see {KEY}!"), OUT)
    assert guarded is not None
    assert guarded.prompt == chat(f"see {MARK}!")
    assert sink.facts == [
        SecretFound("stripe-key", way, "redact", "duo_chat", "anthropic", 1)
        for way in ("prompt", "prompt", "tool_result")
    ]
    assert KEY not in repr(sink.facts)


def test_secrets_of_a_completion_are_replaced() -> None:
    infill = Infill(f"a = '{KEY}'", f"# {KEY}", context=(ContextItem("file", "b", KEY),) * 2)
    guarded = guard(prompt="redact").call(infill, OUT)
    assert guarded is not None
    clean = Infill(f"a = '{MARK}'", f"# {MARK}", context=(ContextItem("file", "b", MARK),) * 2)
    assert guarded.prompt == clean
    assert guard(prompt="redact").texts(("a", KEY), OUT) == ("a", MARK)


def test_a_sessions_marks_stand_for_its_secrets() -> None:
    made = guard(prompt="redact", tool_result="redact", answer="redact")
    guarded = made.call(chat(KEY), OUT, Marks())
    assert guarded is not None
    assert guarded.prompt == chat("<stripe-key:24>")
    assert [one.text for one in guarded.feed(Delta(f"{KEY} "))] == ["<stripe-key:24> "]


def test_each_way_has_its_own_mode() -> None:
    guarded = guard(tool_result="redact").call(chat(KEY), OUT)
    assert guarded is not None
    assert isinstance(guarded.prompt, Chat)
    assert guarded.prompt.messages[:3] == chat(KEY).messages[:3]
    assert guarded.prompt.messages[3].parts[0] == ToolResult("1", MARK)
    assert list(guarded.feed(Delta(KEY))) == [Delta(KEY)]
    assert guarded.answer(Answer(KEY, (), "stop", None)).text == KEY


@pytest.mark.parametrize("way", ["prompt", "tool_result", "answer"])
def test_blocking_names_the_rule_and_never_the_secret(way: str) -> None:
    sink = MemorySink()
    made = guard(sink, **{way: "block"})

    def asks() -> None:
        guarded = made.call(chat(KEY), OUT)
        assert guarded is not None
        guarded.feed(Delta(f"{KEY} "))

    with pytest.raises(Withheld) as raised:
        asks()
    assert raised.value.rule == "stripe-key"
    assert "stripe-key" in raised.value.detail
    assert KEY not in repr(raised.value)
    assert sink.of(SecretFound)[0].mode == "block"
    if way == "prompt":
        with pytest.raises(Withheld):
            made.body(json.dumps({"content": KEY}).encode(), OUT)
        with pytest.raises(Withheld):
            made.texts((KEY,), OUT)


def test_shadow_tells_and_changes_nothing() -> None:
    sink = MemorySink()
    made = guard(sink, prompt="shadow", tool_result="shadow", answer="shadow")
    guarded = made.call(chat(KEY), OUT)
    assert guarded is not None
    assert guarded.prompt == chat(KEY)
    told = [one.text for cut in (KEY[:5], KEY[5:] + " x") for one in guarded.feed(Delta(cut))]
    told += [one.text for one in guarded.finish()]
    assert "".join(told) == f"{KEY} x"
    body = json.dumps({"content": f'a "{KEY}" é'}).encode()
    assert made.body(body, OUT) == body
    assert [(one.way, one.mode) for one in sink.of(SecretFound)] == [
        *[("prompt", "shadow")] * 2,
        ("tool_result", "shadow"),
        ("answer", "shadow"),
        ("prompt", "shadow"),
    ]


def test_modes_go_by_feature_and_destination() -> None:
    made = guard(
        prompt="redact",
        overrides=[
            {"destination": "local", "prompt": "off"},
            {"feature": "duo_chat", "destination": "eu-2", "prompt": "block"},
            {"feature": "review", "answer": "redact"},
        ],
    )
    assert made.call(chat(KEY), Destination("duo_chat", "local", "local")) is None
    body = b'{"content": "%s"}' % KEY.encode()
    assert made.body(body, Destination("duo_chat", "local", "any")) is body
    with pytest.raises(Withheld):
        made.call(chat(KEY), Destination("duo_chat", "anthropic", "eu-2"))
    other = made.call(chat(KEY), Destination("other", "anthropic", "eu-2"))
    assert other is not None
    assert KEY not in repr(other.prompt.messages[1] if isinstance(other.prompt, Chat) else KEY)
    assert made.relayed("text/event-stream", Destination("other", "anthropic", "eu-2")) is None
    assert made.relayed("text/event-stream", Destination("review", "a", "b")) is not None


def test_an_answer_is_cleaned_as_it_streams() -> None:
    sink = MemorySink()
    guarded = guard(sink, answer="redact").call(chat("hi"), OUT)
    assert guarded is not None
    first = Delta("The ", message_id="m1")
    assert list(guarded.feed(first)) == [first]
    assert list(guarded.feed(Delta(f"key {KEY[:9]}"))) == [Delta("key ")]
    assert list(guarded.feed(Delta(KEY[9:20]))) == []
    assert list(guarded.feed(Delta(KEY[20:]))) == []
    last = Delta(finish="stop", usage=Usage(1, 2))
    assert list(guarded.feed(last)) == [Delta(MARK, finish="stop", usage=Usage(1, 2))]
    assert list(guarded.finish()) == []
    assert [one.way for one in sink.of(SecretFound)] == ["answer"]


def test_what_is_held_back_when_a_stream_ends_early_is_given() -> None:
    guarded = guard(answer="redact").call(chat("hi"), OUT)
    assert guarded is not None
    assert list(guarded.feed(Delta("a sk-"))) == [Delta("a ")]
    assert list(guarded.finish()) == [Delta("sk-")]


def test_a_tools_arguments_are_cleaned_inside_their_strings() -> None:
    guarded = guard(answer="redact").call(chat("hi"), OUT)
    assert guarded is not None
    use = ToolUse("1", "write", json.dumps({"path": "a", "text": f'x\n"{KEY}"\n', "n": 1}))
    (delta,) = guarded.feed(Delta(tool_use=use))
    assert delta.tool_use is not None
    said = {"path": "a", "text": f'x\n"{MARK}"\n', "n": 1}
    assert json.loads(delta.tool_use.arguments) == said
    clean = Delta(tool_use=ToolUse("2", "read", '{"path": "sk-"}'))
    assert list(guarded.feed(clean)) == [clean]
    answer = Answer(f"a {GITLAB}", (use,), "tool_use", None)
    whole = guarded.answer(answer)
    assert whole.text == f"a {MARK}"
    assert KEY not in whole.tool_uses[0].arguments
    same = Answer("a", (clean.tool_use,) if clean.tool_use else (), "stop", None)
    assert guarded.answer(same) is same


def test_a_whole_answer_and_its_deltas_come_out_alike() -> None:
    made = guard(answer="redact")
    for one in generated(60):
        guarded = made.call(chat("hi"), OUT)
        assert guarded is not None
        text = f"see {one.text}; there"
        pieces = [text[at : at + 5] for at in range(0, len(text), 5)]
        deltas = [delta for piece in pieces for delta in guarded.feed(Delta(piece))]
        deltas += guarded.feed(Delta(finish="stop"))
        streamed = "".join(delta.text for delta in deltas)
        assert streamed == guarded.answer(Answer(text, (), "stop", None)).text
        assert one.secret not in streamed


def test_own_rules_exceptions_and_disabled_ones() -> None:
    own = OwnRule(name="acme", secret="acme-[0-9]{6}", needles=("acme-",), run="[0-9]")
    made = guard(
        prompt="redact",
        rules=[own.model_dump()],
        disabled=["stripe-key"],
        exceptions={"acme": ["acme-0+"]},
        allow=["glpat-abc.*"],
    )
    text = f"acme-123456 acme-000000 {KEY} {GITLAB}"
    assert made.texts((text,), OUT) == (text.replace("acme-123456", MARK),)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"disabled": ["nobody"]}, "redaction.disabled: there is no rule 'nobody'"),
        ({"exceptions": {"nobody": ["a"]}}, "redaction.exceptions: there is no rule 'nobody'"),
        ({"allow": ["("]}, "missing"),
        ({"rules": [{"name": "own", "secret": "(a)", "lead": "b"}]}, "rule 'own'"),
    ],
)
def test_settings_that_cannot_be_used_name_themselves(settings: object, says: str) -> None:
    with pytest.raises(SettingsError, match=says.replace("(", r"\(")):
        open_guard(RedactionSettings.model_validate(settings), MemorySink())


def test_what_a_forwarded_answer_passes_through_goes_by_its_type() -> None:
    made = guard(answer="redact")
    for kind in ("text/event-stream", "application/json; charset=utf-8", "text/plain"):
        assert made.relayed(kind, OUT) is not None
    assert made.relayed("application/octet-stream", OUT) is None
    plain: RelayedFilter | None = made.relayed("application/json", OUT)
    assert plain is not None
    reply = json.dumps({"text": f"a\n{KEY}\n", "n": [1, 2]}).encode()
    passed = b"".join(plain.feed(reply[at : at + 7]) for at in range(0, len(reply), 7))
    assert json.loads(passed + plain.finish()) == {"text": f"a\n{MARK}\n", "n": [1, 2]}


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
def test_a_forwarded_answer_that_is_here_as_a_whole_passes_in_one_look(kind: str) -> None:
    def passing() -> RelayedFilter:
        made = guard(answer="redact").relayed(kind, OUT)
        assert made is not None
        return made

    clean = b'data: {"text": "good"}\n\n'
    assert passing().whole(clean) == clean
    said = json.dumps({"text": f"a {KEY} b"}).encode()
    piecewise = passing()
    passed = piecewise.feed(b"data: " + said + b"\n\n") + piecewise.finish()
    assert passing().whole(b"data: " + said + b"\n\n") == passed
    assert KEY.encode() not in passed
    assert MARK.encode() in passed
