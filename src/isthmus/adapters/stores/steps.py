"""Applies the steps of a schema: Alembic's revisions, forward only, a phase at a time.

What is missing of a phase is applied in one transaction. There is no `env.py`: nothing runs Alembic
but this. Importing this costs 0.2 s, mostly for nothing: it is done where a step is missing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, text

from isthmus.adapters.stores.schema import Schema, is_post, read_schema, schema_of
from isthmus.core.errors import Rejected

Phase: TypeAlias = Literal["pre", "post", "all"]

MIGRATIONS: Final = Path(__file__).with_name("migrations")
LOCK_S: Final = 2
"""Who waits for a table's lock makes all others wait: better to give up, and try again."""
_LOCK: Final = 0x697374686D7573
"""Of PostgreSQL's advisory locks, the one that migrations take."""
_VERSIONS: Final = (
    "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) PRIMARY KEY)"
)


class Steps:
    """The steps of a release, read from its revisions. Blocks while it reads."""

    def __init__(self, folder: Path = MIGRATIONS) -> None:
        script = ScriptDirectory(str(folder))
        self._by_id: dict[str, Script] = {each.revision: each for each in script.walk_revisions()}
        self.schema = schema_of(self._by_id)

    def missing(self, found: Schema, phase: Phase = "all") -> Sequence[str]:
        """The steps that a database of this schema lacks, in the order in which they come."""
        pre = [step for step in self._by_id if not is_post(step) and step > found.pre]
        post = [step for step in self._by_id if is_post(step) and step > found.post]
        if phase == "post" and pre:
            raise Rejected(f"pre steps are missing: {', '.join(sorted(pre))}; they come first")
        chosen = pre if phase == "pre" else pre + post
        return sorted(chosen)

    def apply(self, connection: Connection, phase: Phase = "all") -> Sequence[str]:
        """Apply what is missing of a phase; tells what that was.

        Whoever comes second, in another process, waits and then finds it done. Raises Rejected for
        post steps whose pre steps are missing.
        """
        _lock(connection)
        found = read_schema(connection)
        missing = self.missing(found, phase)
        self.run(connection, found, missing)
        return missing

    def build(self, connection: Connection, wanted: Schema) -> None:
        """Make exactly this schema on a database that has none: one of ours, or an older one."""
        _lock(connection)
        lines = {False: wanted.pre, True: wanted.post}
        steps = sorted(step for step in self._by_id if step <= lines[is_post(step)])
        self.run(connection, Schema(), steps)

    def run(self, connection: Connection, found: Schema, steps: Sequence[str]) -> None:
        """Take these steps on a schema that is ready for them."""
        if not steps:
            return
        connection.execute(text(_VERSIONS))
        with Operations.context(MigrationContext.configure(connection)):
            for step in steps:
                self._by_id[step].module.upgrade()
        reached = schema_of([found.pre, found.post, *steps])
        connection.execute(text("DELETE FROM alembic_version"))
        for step in filter(None, (reached.pre, reached.post)):
            connection.execute(text("INSERT INTO alembic_version VALUES (:step)"), {"step": step})


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_S}s'"))
