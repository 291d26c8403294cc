"""Workflow records, checkpoints, their blobs and pending writes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
DEPLOY = "pre"

_KEY = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables; the counter of workflow ids starts at zero."""
    _records()
    _checkpoints()


def _records() -> None:
    op.create_table(
        "workflows",
        sa.Column("id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("goal", sa.Text, nullable=False),
        sa.Column("owner", _KEY, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("created_at_us", _NUMBER, nullable=False),
        sa.Column("updated_at_us", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="workflows_pkey"),
    )
    op.create_index(
        "workflows_owner_created_at_us_id_idx", "workflows", ["owner", "created_at_us", "id"]
    )
    op.create_index("workflows_created_at_us_id_idx", "workflows", ["created_at_us", "id"])
    counters = op.create_table(
        "counters",
        sa.Column("name", _KEY, nullable=False),
        sa.Column("value", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("name", name="counters_pkey"),
    )
    op.bulk_insert(counters, [{"name": "workflow", "value": 0}])


def _checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("thread_id", _KEY, nullable=False),
        sa.Column("ns", _KEY, nullable=False),
        sa.Column("checkpoint_id", _KEY, nullable=False),
        sa.Column("parent_id", _KEY, nullable=True),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("metadata", sa.LargeBinary, nullable=False),
        sa.Column("refs", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("thread_id", "ns", "checkpoint_id", name="checkpoints_pkey"),
    )
    op.create_table(
        "checkpoint_blobs",
        sa.Column("thread_id", _KEY, nullable=False),
        sa.Column("ns", _KEY, nullable=False),
        sa.Column("channel", _KEY, nullable=False),
        sa.Column("grp", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(
            "thread_id", "ns", "channel", "grp", "seq", name="checkpoint_blobs_pkey"
        ),
    )
    op.create_table(
        "checkpoint_writes",
        sa.Column("thread_id", _KEY, nullable=False),
        sa.Column("ns", _KEY, nullable=False),
        sa.Column("checkpoint_id", _KEY, nullable=False),
        sa.Column("task_id", _KEY, nullable=False),
        sa.Column("idx", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("task_path", _KEY, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(
            "thread_id", "ns", "checkpoint_id", "task_id", "idx", name="checkpoint_writes_pkey"
        ),
    )
