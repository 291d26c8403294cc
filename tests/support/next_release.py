"""The steps of a release after this one: it adds a column, and then takes another away."""

import shutil
from pathlib import Path
from typing import Final

from isthmus.adapters.stores.schema import OURS
from isthmus.adapters.stores.steps import MIGRATIONS, Steps

NEXT: Final = f"{int(OURS.pre) + 1:04d}"
POST: Final = f"p{int(OURS.post[1:5] or 0) + 1:04d}_{NEXT}"
NEXT_PRE: Final = f"""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{NEXT}", "{OURS.pre}"
def upgrade():
    op.add_column("workflows", sa.Column("colour", sa.Text(), nullable=False, server_default=""))
"""
NEXT_POST: Final = f"""
from alembic import op
revision, down_revision, branch_labels = "{POST}", {OURS.post or None!r}, "post"
def upgrade():
    op.drop_column("workflows", "deployment")
"""


def steps_of_the_next(folder: Path) -> Steps:
    """Its steps, made in `folder`."""
    made = folder / "migrations"
    shutil.copytree(MIGRATIONS, made, ignore=shutil.ignore_patterns("__pycache__"))
    (made / "versions" / f"r{NEXT}_colour.py").write_text(NEXT_PRE, encoding="utf-8")
    (made / "versions" / f"r{POST}_deployment.py").write_text(NEXT_POST, encoding="utf-8")
    return Steps(made)
