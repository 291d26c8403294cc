"""What a client is shown, and when."""

import json
from typing import Any

import pytest

from isthmus.contract.contract_pb2 import NewCheckpoint
from isthmus.core.workflow import Status
from isthmus.platform import entries
from isthmus.platform.entries import Entry
from isthmus.platform.notifier import PACE_S, Notifier, Snapshot

AT = "2026-01-01T00:00:00+00:00"


def said(text: str, name: str) -> Entry:
    return entries.agent(text, name, AT, "agent")


def make(*, incremental: bool = False, limit_bytes: int = 1_000_000) -> Notifier:
    return Notifier("goal", incremental=incremental, limit_bytes=limit_bytes)


def log(notice: NewCheckpoint | None) -> list[dict[str, Any]]:
    assert notice is not None
    return json.loads(notice.checkpoint)["channel_values"]["ui_chat_log"]


def contents(notice: NewCheckpoint | None) -> list[str]:
    return [entry["content"] for entry in log(notice)]


def test_a_notice_has_the_contracts_shape() -> None:
    notifier = make()
    notifier.model('{"name":"m"}')
    notifier.take(Snapshot([said("hi", "a")], Status.INPUT_REQUIRED, {"agent": (3, 9)}))
    notice = notifier.compose(0.0)
    assert notice is not None
    assert (notice.status, notice.goal) == ("INPUT_REQUIRED", "goal")
    assert json.loads(notice.checkpoint) == {
        "channel_values": {"ui_chat_log": [said("hi", "a")], "plan": {"steps": []}}
    }
    assert notice.agent_context_usage["agent"].total_tokens == 3
    assert notice.agent_context_usage["agent"].max_tokens == 9
    assert notice.model_metadata_json == '{"name":"m"}'


def test_nothing_new_is_not_shown_again() -> None:
    notifier = make()
    notifier.take(Snapshot([], Status.RUNNING))
    assert notifier.compose(0.0) is not None
    assert notifier.compose(1.0) is None


def test_text_that_is_begun_anew_takes_the_place_of_what_was_said() -> None:
    notifier = make(incremental=True)
    notifier.take(Snapshot([said("one", "a")], Status.RUNNING))
    notifier.say("b", "Hum", AT, "agent")
    assert contents(notifier.compose(0.0)) == ["one", "Hum"]
    notifier.say("b", "", AT, "agent")
    notifier.say("b", "Hello", AT, "agent")
    (entry,) = log(notifier.compose(0.1))
    assert (entry["message_id"], entry["content"]) == ("b", "Hello")


def test_streamed_text_grows_in_one_entry_until_the_step_replaces_it() -> None:
    notifier = make()
    notifier.take(Snapshot([said("one", "a")], Status.RUNNING))
    notifier.say("b", "He", AT, "agent")
    notifier.say("b", "llo", AT, "agent")
    assert contents(notifier.compose(0.0)) == ["one", "Hello"]
    notifier.say("b", "!", AT, "agent")
    assert contents(notifier.compose(0.0)) == ["one", "Hello!"]
    notifier.take(Snapshot([said("one", "a"), said("Hello!", "b")], Status.RUNNING))
    assert contents(notifier.compose(0.0)) == ["one", "Hello!"]


def test_a12_46_text_may_be_sent_every_50_ms() -> None:
    notifier = make()
    assert notifier.wait_s(0.0) == 0.0
    notifier.say("b", "x", AT, "agent")
    notifier.compose(10.0)
    assert notifier.wait_s(10.0) == pytest.approx(PACE_S)
    assert notifier.wait_s(10.03) < 0.021
    assert notifier.wait_s(10.06) == 0.0


def test_a12_45_deltas_begin_at_the_last_entry_that_was_sent() -> None:
    notifier = make(incremental=True)
    first, second, third = said("1", "a"), said("2", "b"), said("3", "c")
    notifier.take(Snapshot([first, second], Status.RUNNING))
    assert contents(notifier.compose(0.0)) == ["1", "2"]
    notifier.take(Snapshot([first, second, third], Status.RUNNING))
    assert contents(notifier.compose(0.0)) == ["2", "3"]


def test_a12_45_an_earlier_entry_that_was_replaced_is_in_the_delta() -> None:
    notifier = make(incremental=True)
    first, second = said("1", "a"), said("2", "b")
    notifier.take(Snapshot([first, second], Status.RUNNING))
    notifier.compose(0.0)
    notifier.take(Snapshot([said("new", "a"), second], Status.RUNNING))
    assert contents(notifier.compose(0.0)) == ["new", "2"]


def test_a_failure_is_the_last_entry() -> None:
    notifier = make()
    notifier.take(Snapshot([said("1", "a")], Status.RUNNING))
    notifier.say("b", "half", AT, "agent")
    notifier.fail(entries.error("why", "error-1", AT))
    notice = notifier.compose(0.0)
    assert contents(notice) == ["1", "why"]
    assert notice is not None
    assert notice.status == "FAILED"


def test_a12_61_a_stop_shows_an_empty_log() -> None:
    notifier = make(incremental=True)
    notifier.take(Snapshot([said("1", "a")], Status.RUNNING))
    notifier.compose(0.0)
    notifier.stop()
    notice = notifier.compose(0.0)
    assert log(notice) == []
    assert notice is not None
    assert notice.status == "STOPPED"


def test_a_log_that_cannot_be_sent_whole_loses_its_oldest_entries() -> None:
    notifier = make(limit_bytes=4000)
    many = [said("x" * 300, str(number)) for number in range(50)]
    notifier.take(Snapshot(many, Status.RUNNING))
    shown = log(notifier.compose(0.0))
    assert 0 < len(shown) < 10
    assert shown[-1]["message_id"] == "49"


def test_merging_replaces_in_place_and_appends() -> None:
    first, second = said("1", "a"), said("2", "b")
    merged = entries.merged([first, second], [said("new", "a"), said("3", "c")])
    assert [entry["content"] for entry in merged] == ["new", "2", "3"]


def test_two_messages_may_be_written_at_once() -> None:
    notifier = make()
    notifier.say("a", "He", AT, "one")
    notifier.say("b", "Who", AT, "two")
    notifier.say("a", "llo", AT, "one")
    assert contents(notifier.compose(0.0)) == ["Hello", "Who"]
    notifier.take(Snapshot([said("Hello", "a"), said("Who?", "b")], Status.RUNNING))
    assert contents(notifier.compose(1.0)) == ["Hello", "Who?"]
