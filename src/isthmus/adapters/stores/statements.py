"""The one statement that the two databases spell the same and SQLAlchemy keeps apart: upsert."""

from collections.abc import Sequence

from sqlalchemy import Table
from sqlalchemy.sql.dml import Insert


def insert_new(table: Table, dialect: str) -> Insert:
    """Insert rows, leaving out those whose primary key is there already."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - half the import is enough

        return postgresql.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - half the import is enough

    return sqlite.insert(table).on_conflict_do_nothing()


def insert_or_replace(table: Table, dialect: str, keys: Sequence[str] = ()) -> Insert:
    """Insert rows; one whose `keys` are there already gives it its other columns.

    `keys` are the primary key, or those of a unique index; the primary key stays as it was.
    """
    primary = [column.name for column in table.primary_key.columns]
    keys = keys or primary
    others = [name for name in table.columns.keys() if name not in {*keys, *primary}]  # noqa: SIM118 - of a collection of columns
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - half the import is enough

        pg = postgresql.insert(table)
        return pg.on_conflict_do_update(
            index_elements=keys, set_={name: pg.excluded[name] for name in others}
        )
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - half the import is enough

    lite = sqlite.insert(table)
    return lite.on_conflict_do_update(
        index_elements=keys, set_={name: lite.excluded[name] for name in others}
    )
