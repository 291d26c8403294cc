"""What a person sees of a conversation, checkpoint by checkpoint."""

import json

import pytest

from isthmus.executor.transcript import (
    Shown,
    ToolInfo,
    Transcript,
    Unreadable,
    described,
    entries_of,
    pending,
    printable,
)


def checkpoint(*entries: dict[str, object]) -> str:
    return json.dumps({"channel_values": {"ui_chat_log": entries, "plan": {"steps": []}}})


def agent(text: str, key: str = "agent-1") -> dict[str, object]:
    return {"message_type": "agent", "content": text, "message_id": key, "status": None}


def tool(text: str, status: str, key: str = "tool-1") -> dict[str, object]:
    return {"message_type": "tool", "content": text, "message_id": key, "status": status}


def shown(transcript: Transcript, *entries: dict[str, object]) -> list[Shown]:
    return transcript.update(entries_of(checkpoint(*entries)))


def test_a_text_grows_and_is_shown_once() -> None:
    transcript = Transcript()
    assert shown(transcript, agent("Hel")) == [Shown("text", "Hel")]
    assert shown(transcript, agent("Hello")) == [Shown("text", "lo", goes_on=True)]
    assert shown(transcript, agent("Hello")) == []
    assert shown(transcript, agent("Hello"), agent("Bye", "agent-2")) == [Shown("text", "Bye")]


def test_a_text_that_is_replaced_starts_anew() -> None:
    transcript = Transcript()
    shown(transcript, agent("Hello"))
    assert shown(transcript, agent("Good day")) == [Shown("text", "Good day")]


def test_a_text_that_grows_after_another_entry_is_repeated_whole() -> None:
    transcript = Transcript()
    shown(transcript, agent("Hel"))
    shown(transcript, tool("Read x", "success"))
    assert shown(transcript, agent("Hello")) == [Shown("text", "Hello")]


def test_a_tool_is_one_line_and_its_failure_another() -> None:
    transcript = Transcript()
    assert shown(transcript, tool("Read x", "pending")) == [Shown("tool", "Read x")]
    assert shown(transcript, tool("Read x", "success")) == []
    assert shown(transcript, tool("Read x", "failure")) == [Shown("failure", "Read x")]


def test_the_persons_own_words_and_requests_are_not_repeated() -> None:
    transcript = Transcript()
    user: dict[str, object] = {"message_type": "user", "content": "hi", "message_id": "user-1"}
    request = user | {"message_type": "request", "message_id": "request-1"}
    assert shown(transcript, user, request) == []


def test_entries_without_an_id_are_told_apart() -> None:
    transcript = Transcript()
    first: dict[str, object] = {"message_type": "tool", "content": "a", "timestamp": "1"}
    assert shown(transcript, first, first | {"content": "b"}) == [
        Shown("tool", "a"),
        Shown("tool", "b"),
    ]


def test_memory_is_bounded() -> None:
    transcript = Transcript()
    for number in range(5000):
        shown(transcript, agent("x", f"agent-{number}"))
    assert shown(transcript, agent("x", "agent-4999")) == []
    assert shown(transcript, agent("x", "agent-0")) == [Shown("text", "x")]


def test_only_requests_at_the_end_wait() -> None:
    request: dict[str, object] = {
        "message_type": "request",
        "content": "May I?",
        "message_id": "c1",
        "tool_info": {"name": "mkdir", "args": {"directory_path": "x"}},
    }
    entries = entries_of(checkpoint(request, agent("old"), request, request | {"tool_info": None}))
    assert pending(entries) == [ToolInfo("mkdir", {"directory_path": "x"}), ToolInfo("May I?")]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"channel_values": 1}', '{"channel_values":{"ui_chat_log":{}}}', "[" * 100_000],
)
def test_an_unreadable_checkpoint_says_so(text: str) -> None:
    with pytest.raises(Unreadable):
        entries_of(text)


def test_unknown_keys_and_empty_checkpoints_are_fine() -> None:
    assert entries_of("") == ()
    assert entries_of('{"channel_values":{"other":1},"more":{}}') == ()


@pytest.mark.parametrize(
    "text", ["\x1b[31mred", "a\rb", "\x07", "\x9b2J", "\u202etxt.exe", "\u2066x", "\ud800"]
)
def test_text_cannot_steer_the_terminal(text: str) -> None:
    out = printable(text)
    assert "·" in out
    assert out.replace("·", "").isprintable()


def test_a_call_is_described_with_its_arguments_and_cut() -> None:
    call = ToolInfo("run_command", {"program": "rm\x1b", "list": [1], "text": "a\nb", "x": "y" * 9})
    assert described(call, limit_chars=5).split("\n") == [
        "run_command",
        "  program: rm·",
        "  list: [1]",
        "  text: a",
        "      b",
        "  x: yyyyy [... 4 more characters]",
    ]
