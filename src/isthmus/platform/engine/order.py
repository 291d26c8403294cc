"""Keeps the ids of a thread's checkpoints in the order of its steps, whatever the clock does.

The newest checkpoint is the one with the greatest id, and an id begins with its time. A clock that
was set back, or that of another machine which is behind, would put new steps before old ones: the
session would be resumed from an old one. The engine's ids grow within a process; here they are told
of what other processes gave.
"""

from typing import Final
from uuid import UUID

from langgraph.checkpoint.base import id as engine_ids

_TICKS_S: Final = 10_000_000
_UUID_EPOCH_S: Final = 12_219_292_800
"""From 15 October 1582, where a UUID of version 6 begins to count, to 1970 (RFC 9562, 5.6)."""
# A made-up id must not use up the numbers: they last until the year 5236.
_LAST_TICKS: Final = (_UUID_EPOCH_S + 64_060_588_800) * _TICKS_S
"""The year 4000."""


def follow(checkpoint_id: str) -> None:
    """Have this process give no id any more that sorts before this one.

    What is no UUID of version 6, or lies in a far future, is left alone.
    """
    at = ticks(checkpoint_id)
    last = engine_ids._last_v6_timestamp or 0  # pyright: ignore[reportPrivateUsage] - that of its last id
    if last < at <= _LAST_TICKS:
        engine_ids._last_v6_timestamp = at  # pyright: ignore[reportPrivateUsage] - there is no other way


def ticks(checkpoint_id: str) -> int:
    """The time in an id, in units of 100 ns since 1582; 0 when there is none."""
    try:
        found = UUID(checkpoint_id)
    except ValueError:
        return 0
    return (found.int >> 80) << 12 | (found.int >> 64) & 0xFFF if found.version == 6 else 0
