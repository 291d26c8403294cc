"""Usage by hour, and the batches of it that were added."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
DEPLOY = "pre"

_KEY = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXTS = (
    *("instance", "namespace", "user", "token", "feature", "model", "provider", "deployment"),
    *("language", "outcome"),
)
_NUMBERS = (
    *("requests", "errors", "input_tokens", "output_tokens", "cache_read_tokens"),
    *("cache_write_tokens", "reasoning_tokens", "cost", "unpriced", "duration_us"),
    *("first_bytes", "first_byte_us", "shown", "accepted", "rejected", "failed"),
    *(f"latency_{index:02d}" for index in range(24)),
)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "usage",
        sa.Column("hour", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("digest", _KEY, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        *(sa.Column(name, _NUMBER, nullable=False) for name in _NUMBERS),
        sa.PrimaryKeyConstraint("hour", "digest", name="usage_pkey"),
    )
    op.create_table(
        "usage_batches",
        sa.Column("id", _KEY, nullable=False),
        sa.PrimaryKeyConstraint("id", name="usage_batches_pkey"),
    )
