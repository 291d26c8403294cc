"""The schema's version: read it, and bring it up to date with Alembic's revisions.

Revisions are forward only and in one line; their ids are numbers of four digits, so they sort. All
that is missing is applied in one transaction. There is no `env.py`: nothing runs Alembic but this.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

REVISION: Final = "0004"
"""The newest revision: the one that the tables describe."""
MIGRATIONS: Final = Path(__file__).with_name("migrations")
_LOCK: Final = 0x697374686D7573
"""Of PostgreSQL's advisory locks, the one that migrations take."""


def up_to_date(connection: Connection) -> bool:
    """Whether the schema is as new as this release needs.

    A newer one is fine: a release must run on the schema of the next, so that both serve during a
    deployment.
    """
    if not inspect(connection).has_table("alembic_version"):
        return False
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found is not None and str(found) >= REVISION


def load_upgrade() -> Callable[[Connection], None]:
    """Read the revisions, and return what applies the missing ones. Blocks.

    Whoever comes second, in another process, waits and then finds it done.
    """
    from alembic.config import Config  # noqa: PLC0415 - 0.2 s, mostly for nothing
    from alembic.operations import Operations  # noqa: PLC0415 - 0.2 s, mostly for nothing
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415 - 0.2 s, mostly for nothing
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - 0.2 s, mostly for nothing

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    newest_first = list(script.walk_revisions())

    def upgrade(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        context = MigrationContext.configure(connection)
        done = context.get_current_revision() or ""
        for revision in reversed(newest_first):
            if revision.revision > done:
                with Operations.context(context):
                    revision.module.upgrade()
                context.stamp(script, revision.revision)

    return upgrade
