"""The tables of what flow services store: checkpoints with their blobs and writes, events."""

from typing import Final

from sqlalchemy import Column, Index, LargeBinary, Table, Text

from isthmus.adapters.stores.columns import KEY, NUMBER, metadata

# A namespace may be longer than an index takes, so its digest stands for it there.
records: Final = Table(
    "records",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("workflow_id", NUMBER, nullable=False),
    Column("thread_ts", KEY, nullable=False),
    Column("ns_digest", LargeBinary, nullable=False),
    Column("ns", Text, nullable=False),
    Column("parent_ts", KEY, nullable=True),
    Column("current_thread", NUMBER, nullable=False),
    Column("size_bytes", NUMBER, nullable=False),
    Column("metadata", LargeBinary, nullable=False),
    Column("checkpoint", LargeBinary, nullable=False),
    Index(None, "workflow_id", "thread_ts", "ns_digest", unique=True),
    sqlite_autoincrement=True,
)

record_blobs: Final = Table(
    "record_blobs",
    metadata,
    Column("workflow_id", NUMBER, primary_key=True, autoincrement=False),
    Column("current_thread", NUMBER, primary_key=True, autoincrement=False),
    Column("channel", KEY, primary_key=True),
    Column("version", KEY, primary_key=True),
    Column("write_type", Text, nullable=False),
    Column("step_action", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

record_writes: Final = Table(
    "record_writes",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("workflow_id", NUMBER, nullable=False),
    Column("thread_ts", KEY, nullable=False),
    Column("task", KEY, nullable=False),
    Column("idx", NUMBER, nullable=False),
    Column("channel", Text, nullable=False),
    Column("write_type", Text, nullable=False),
    Column("data", Text, nullable=False),
    Index(None, "workflow_id", "thread_ts", "task", "idx", unique=True),
    sqlite_autoincrement=True,
)

# `scope` is where a correlation id is used once: the project, or the workflow that has none.
flow_events: Final = Table(
    "flow_events",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("workflow_id", NUMBER, nullable=False),
    Column("scope", KEY, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("status", KEY, nullable=False),
    Column("message", Text, nullable=False),
    Column("correlation_id", KEY, nullable=True),
    Index(None, "workflow_id", "status", "id"),
    Index(None, "scope", "correlation_id", unique=True),
    sqlite_autoincrement=True,
)

OF_WORKFLOW: Final = (record_writes, record_blobs, records, flow_events)
"""What hangs on a workflow, by `workflow_id`."""
