"""Who runs which session, and the actions that were sent."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
DEPLOY = "pre"

_KEY = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "runners",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("beat", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="runners_pkey"),
    )
    op.create_table(
        "leases",
        sa.Column("thread_id", _KEY, nullable=False),
        sa.Column("runner", _KEY, nullable=False),
        sa.Column("fence", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("thread_id", name="leases_pkey"),
    )
    op.create_index("leases_runner_idx", "leases", ["runner"])
    op.create_table(
        "actions",
        sa.Column("thread_id", _KEY, nullable=False),
        sa.Column("call_id", _KEY, nullable=False),
        sa.Column("idx", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("request_id", _KEY, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("memory", _KEY, nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("thread_id", "call_id", "idx", name="actions_pkey"),
    )
