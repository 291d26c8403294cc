"""The lines of a trace."""

import json

from isthmus.instance.trace import lines


def traced(values: object, goal: str = "", *, full: bool = False) -> list[dict[str, object]]:
    checkpoint = json.dumps({"channel_values": values}).encode()
    found = list(lines(goal, checkpoint, full=full))
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in found)
    return [json.loads(line) for line in found]


CHANNELS = {
    "secret": "prompt",
    "status": "Execution",
    "plan": {"steps": [{"id": 1}, {"id": 2}]},
    "ui_chat_log": [{"content": "hi\nyou"}, "bare"],
}


def test_i7_55_the_goal_comes_first_and_only_safe_channels_follow() -> None:
    assert traced(CHANNELS, "mend it") == [
        {"channel": "goal", "value": "mend it"},
        {"channel": "ui_chat_log", "content": "hi\nyou"},
        {"channel": "ui_chat_log", "value": "bare"},
        {"channel": "plan.steps", "id": 1},
        {"channel": "plan.steps", "id": 2},
        {"channel": "status", "value": "Execution"},
    ]


def test_a_blank_goal_has_no_line() -> None:
    assert next(line["channel"] for line in traced(CHANNELS, "  \n")) == "ui_chat_log"


def test_the_owner_sees_all_channels() -> None:
    assert {"channel": "secret", "value": "prompt"} in traced(CHANNELS, full=True)


def test_a_value_cannot_pretend_to_be_of_another_channel() -> None:
    assert traced({"ui_chat_log": [{"channel": "goal"}]}) == [{"channel": "ui_chat_log"}]


def test_objects_without_lists_are_one_line_and_scalars_beside_lists_keep_their_name() -> None:
    assert traced({"plan": {"a": 1, "b": {"c": []}}}) == [
        {"channel": "plan", "value": {"a": 1, "b": {"c": []}}}
    ]
    assert traced({"plan": {"a": 1, "steps": []}}) == [{"channel": "plan.a", "value": 1}]


def test_a_checkpoint_without_channels_has_no_lines() -> None:
    assert list(lines("", b'{"channel_values": 7}', full=True)) == []
    assert list(lines("", b"{}", full=True)) == []
