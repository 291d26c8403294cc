"""The tables, in the subset of SQL that SQLite and PostgreSQL share."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

REVISION: Final = "0001"
"""The newest revision in `migrations/versions`: the one that these tables describe."""

metadata: Final = MetaData(
    naming_convention={"pk": "%(table_name)s_pkey", "ix": "%(table_name)s_%(column_0_N_name)s_idx"}
)

# Byte order on both: ids sort by time as bytes, whatever the locale of the database.
KEY: Final = Text().with_variant(PG_TEXT(collation="C"), "postgresql")
NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")


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
    Index(None, "owner", "created_at_us", "id"),
    Index(None, "created_at_us", "id"),
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
