"""The tables, in the subset of SQL that SQLite and PostgreSQL share."""

from typing import Final

from sqlalchemy import Column, Index, Integer, LargeBinary, Table, Text

from isthmus.adapters.stores.columns import KEY, NUMBER, metadata

workflows: Final = Table(
    "workflows",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=False),
    Column("definition", Text, nullable=False),
    Column("goal", Text, nullable=False),
    Column("owner", KEY, nullable=False),
    Column("status", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("created_at_us", NUMBER, nullable=False),
    Column("updated_at_us", NUMBER, nullable=False),
    # Defaults: a release that does not know these columns writes the table during a deployment.
    Column("project_id", NUMBER, nullable=True),
    Column("namespace_id", NUMBER, nullable=True),
    Column("title", Text, nullable=False, server_default=""),
    Column("summary", Text, nullable=False, server_default=""),
    Column("flow", Text, nullable=False, server_default=""),
    Column("job", Text, nullable=False, server_default=""),
    Column("environment", KEY, nullable=False, server_default=""),
    Column("terms", Text, nullable=False, server_default="{}"),
    Column("approvals", Text, nullable=False, server_default="{}"),
    Column("deployment", Text, nullable=False, server_default=""),
    Index(None, "owner", "created_at_us", "id"),
    Index(None, "created_at_us", "id"),
    Index(None, "project_id", "created_at_us", "id"),
    Index(None, "status", "updated_at_us"),
)

counters: Final = Table(
    "counters",
    metadata,
    Column("name", KEY, primary_key=True),
    Column("value", NUMBER, nullable=False),
)

checkpoints: Final = Table(
    "checkpoints",
    metadata,
    Column("thread_id", KEY, primary_key=True),
    Column("ns", KEY, primary_key=True),
    Column("checkpoint_id", KEY, primary_key=True),
    Column("parent_id", KEY, nullable=True),
    Column("header", LargeBinary, nullable=False),
    Column("metadata", LargeBinary, nullable=False),
    Column("refs", Text, nullable=False),
)

checkpoint_blobs: Final = Table(
    "checkpoint_blobs",
    metadata,
    Column("thread_id", KEY, primary_key=True),
    Column("ns", KEY, primary_key=True),
    Column("channel", KEY, primary_key=True),
    Column("grp", NUMBER, primary_key=True, autoincrement=False),
    Column("seq", NUMBER, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

checkpoint_writes: Final = Table(
    "checkpoint_writes",
    metadata,
    Column("thread_id", KEY, primary_key=True),
    Column("ns", KEY, primary_key=True),
    Column("checkpoint_id", KEY, primary_key=True),
    Column("task_id", KEY, primary_key=True),
    Column("idx", NUMBER, primary_key=True, autoincrement=False),
    Column("channel", Text, nullable=False),
    Column("task_path", KEY, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

runners: Final = Table(
    "runners",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("beat", NUMBER, nullable=False),
)

leases: Final = Table(
    "leases",
    metadata,
    Column("thread_id", KEY, primary_key=True),
    Column("runner", KEY, nullable=False),
    Column("fence", NUMBER, nullable=False),
    Column("client", KEY, nullable=False, server_default=""),
    Index(None, "runner"),
)

actions: Final = Table(
    "actions",
    metadata,
    Column("thread_id", KEY, primary_key=True),
    Column("call_id", KEY, primary_key=True),
    Column("idx", NUMBER, primary_key=True, autoincrement=False),
    Column("request_id", KEY, nullable=False),
    Column("kind", Text, nullable=False),
    Column("memory", KEY, nullable=False),
    Column("answer", LargeBinary, nullable=True),
)

OF_THREAD: Final = (checkpoint_writes, checkpoints, checkpoint_blobs, actions, leases)
"""What hangs on a thread, by `thread_id`."""
