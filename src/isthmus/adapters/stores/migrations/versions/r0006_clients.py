"""Which client a session is held for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
DEPLOY = "pre"


def upgrade() -> None:
    """Add the column to the leases."""
    kind = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql")
    op.add_column("leases", sa.Column("client", kind, nullable=False, server_default=""))
