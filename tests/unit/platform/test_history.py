"""What a model is sent of a conversation."""

from isthmus.core.messages import Message, Text, ToolResult, ToolUse
from isthmus.platform import history
from isthmus.platform.history import Stored
from isthmus.platform.trust import frame_of

FRAME = frame_of("7")


def user(text: str) -> Stored:
    return {"role": "user", "text": text}


def calls(*ids: str, text: str = "") -> Stored:
    tools = [history.StoredUse(id=use_id, name="t", arguments="{}") for use_id in ids]
    return {"role": "assistant", "text": text, "tools": tools}


def result(use_id: str, text: str = "r", *, failed: bool = False) -> Stored:
    return {"role": "tool", "id": use_id, "text": text, "failed": failed}


def spoken(*stored: Stored, most: int = 100_000) -> tuple[Message, ...]:
    head, *turns = history.prompt((), list(stored), most, FRAME)
    assert head == FRAME.ruled(())[0]
    return tuple(turns)


def test_a_conversation_is_spoken_in_turns() -> None:
    said = spoken(user("hi"), calls("1", "2", text="look"), result("2"), result("1"), user("on"))
    assert said == (
        Message("user", (Text("hi"),)),
        Message("assistant", (Text("look"), ToolUse("1", "t", "{}"), ToolUse("2", "t", "{}"))),
        Message("user", (ToolResult("1", "r"), ToolResult("2", "r"), Text("on"))),
    )


def test_calls_without_a_result_are_answered_in_the_prompt_alone() -> None:
    stored = [user("hi"), calls("1", "2"), result("1"), user("on")]
    before = [dict(message) for message in stored]
    parts = spoken(*stored)[-1].parts
    assert parts[1] == ToolResult("2", history.UNANSWERED, failed=True)
    assert stored == before


def test_results_without_a_call_are_left_out() -> None:
    assert spoken(result("9"), user("hi")) == (Message("user", (Text("hi"),)),)


def test_open_calls_are_those_of_the_last_answer_without_result() -> None:
    assert [use["id"] for use in history.open_uses([calls("1", "2"), result("1")])] == ["2"]
    assert history.open_uses([calls("1"), result("1")]) == []
    assert history.open_uses([calls("1"), user("on")]) == []
    assert history.open_uses([]) == []


def test_a_history_that_fits_is_kept_whole() -> None:
    stored = [user("a"), calls("1"), result("1")]
    assert history.trimmed(stored, 1000) == stored


def test_the_newest_messages_are_kept_from_a_users_message_on() -> None:
    stored = [
        message
        for number in range(50)
        for message in (user(f"{number} " + "x" * 400), calls(str(number)), result(str(number)))
    ]
    kept = history.trimmed(stored, 2000)
    assert kept[0]["role"] == "user"
    assert kept[-1] is stored[-1]
    assert sum(map(history.estimate, kept)) <= 1400
    uses = {use["id"] for message in kept for use in message.get("tools", [])}
    assert uses == {message.get("id") for message in kept if message["role"] == "tool"}


def test_one_giant_message_is_replaced_by_a_placeholder() -> None:
    kept = history.trimmed([user("hi"), calls("1"), result("1", "x" * 100_000)], 2000)
    assert [message["text"] for message in kept] == ["hi", "", history.PLACEHOLDER]


def test_a_long_loop_without_a_user_keeps_the_question_and_the_last_exchanges() -> None:
    stored = [user("question")]
    for number in range(100):
        stored += [calls(str(number)), result(str(number), "x" * 400)]
    kept = history.trimmed(stored, 1000)
    assert kept[0] == user("question")
    assert kept[1]["role"] == "assistant"
    assert kept[-1] is stored[-1]
    assert len(kept) <= 6


def test_usage_is_the_providers_count_and_an_estimate_of_the_rest() -> None:
    counted: Stored = {"role": "assistant", "text": "x" * 4000, "tokens": 123}
    assert history.used([user("x" * 4000), counted]) == 123
    assert history.used([counted, user("x" * 40)]) == 123 + 14
    assert history.used([user("x" * 40)]) == 14
