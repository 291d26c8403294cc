"""Ids of checkpoints sort as their steps, by whatever clocks they were given."""

import pytest
from langgraph.checkpoint.base import id as engine_ids
from langgraph.checkpoint.base.id import uuid6

from isthmus.platform.engine import order

HOURS_3 = 3 * 3_600 * 10_000_000


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's memory of its last id is that of the whole process."""
    monkeypatch.setattr(engine_ids, "_last_v6_timestamp", None)


def later(ticks: int) -> str:
    """An id that a clock gave which is so much ahead."""
    at = order.ticks(str(uuid6())) + ticks
    return f"{at >> 28:08x}-{at >> 12 & 0xFFFF:04x}-6{at & 0xFFF:03x}-8fff-ffffffffffff"


def test_what_another_clock_gave_is_followed() -> None:
    head = later(HOURS_3)
    assert str(uuid6()) < head
    order.follow(head)
    ids = [head, *(str(uuid6()) for _ in range(3))]
    assert ids == sorted(set(ids))
    order.follow(later(-HOURS_3))
    assert str(uuid6()) > ids[-1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "ffffffff-ffff-6fff-bfff-ffffffffffff",
        "1f1e98be-7f3f-1287-bfff-3302ce483d62",
        "not-an-id",
    ],
)
def test_what_is_no_such_id_or_of_a_far_future_changes_nothing(text: str) -> None:
    order.follow(text)
    assert order.ticks(str(uuid6())) < order.ticks(later(HOURS_3))
