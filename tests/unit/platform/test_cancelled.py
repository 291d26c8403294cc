"""What a model learns of a turn that was stopped."""

from isthmus.platform.cancelled import MAX_ENTRIES, cancelled, cancelled_text
from isthmus.platform.entries import Entry


def entry(kind: str, text: str) -> Entry:
    return {"message_type": kind, "content": text, "tool_info": {"name": "t"}}


KEPT = [entry("user", "a"), entry("agent", "b")]


def test_words_beyond_the_kept_log_are_told_without_tools() -> None:
    log = [*KEPT, entry("user", "c"), entry("tool", "Read x"), entry("agent", "d")]
    found = cancelled(log, KEPT)
    assert [(e["content"], e["tool_info"]) for e in found] == [("c", None), ("d", None)]
    assert cancelled_text(found).splitlines()[1:3] == ["user: c", "agent: d"]


def test_a_log_that_is_no_continuation_tells_nothing() -> None:
    assert cancelled([entry("user", "other"), *KEPT], KEPT) == []
    assert cancelled(KEPT[:1], KEPT) == []
    assert cancelled_text([]) == ""


def test_it_is_bounded() -> None:
    many = [*KEPT, *(entry("agent", str(n)) for n in range(100))]
    assert len(cancelled(many, KEPT)) == MAX_ENTRIES
    assert cancelled([*KEPT, entry("agent", "x" * 40_000)], KEPT) == []
