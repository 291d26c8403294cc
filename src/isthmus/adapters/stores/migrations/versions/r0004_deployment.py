"""Where a session's model is served."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
DEPLOY = "pre"


def upgrade() -> None:
    """Add the column to the workflows."""
    column = sa.Column("deployment", sa.Text(), nullable=False, server_default="")
    op.add_column("workflows", column)
