"""Usage as rows of its table, and SQLite's statements for them; knows no database layer."""

from hashlib import blake2b
from typing import Final

import msgspec

from isthmus.core.usage import BUCKETS, DIMENSIONS, SUMS, UsageBatch

KEYS: Final = ("hour", "digest")
LATENCY: Final = tuple(f"latency_{index:02d}" for index in range(BUCKETS))
"""Requests by the buckets of latency."""
ADDED: Final = (*SUMS, *LATENCY)
NAMES: Final = (*KEYS, *DIMENSIONS, *ADDED)
_encode = msgspec.json.Encoder().encode
_LISTED: Final = ", ".join(f'"{name}"' for name in NAMES)
_MARKS: Final = ", ".join("?" * len(NAMES))
_SET: Final = ", ".join(f'"{name}" = usage."{name}" + excluded."{name}"' for name in ADDED)
ADD: Final = " ".join(
    (
        *("INSERT INTO usage (", _LISTED, ") VALUES (", _MARKS, ")"),
        *("ON CONFLICT (hour, digest) DO UPDATE SET", _SET),
    )
)
ADD_BATCH: Final = "INSERT INTO usage_batches (id) VALUES (?) ON CONFLICT DO NOTHING"


def rows_of(batch: UsageBatch) -> list[tuple[object, ...]]:
    """The cells of each row, with the digest of its dimensions."""
    rows: list[tuple[object, ...]] = []
    for row in batch.rows:
        hour, *labels = msgspec.structs.astuple(row.key)
        digest = blake2b(_encode(labels), digest_size=16).hexdigest()
        *sums, latency = msgspec.structs.astuple(row.tally)
        rows.append((hour, digest, *labels, *sums, *latency))
    return rows


def json_of(rows: list[tuple[object, ...]]) -> str:
    """The same as one text."""
    return _encode(rows).decode()
