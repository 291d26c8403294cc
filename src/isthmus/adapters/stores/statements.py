"""Upserts, which the two databases spell alike and SQLAlchemy keeps apart, and the short way."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Select, Table
from sqlalchemy.sql.dml import Insert


class Prepared:
    """A statement that every step of a session runs.

    On SQLite its text is made once and goes to the driver itself: SQLAlchemy would cost as much as
    the database. The driver's errors come as they are.
    """

    def __init__(self, statement: Select[Any] | Insert) -> None:
        self._statement = statement
        self._text = ""
        self._names: Sequence[str] = ()

    def run(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Once for each of these rows, which give every parameter."""
        if connection.dialect.name == "sqlite":
            text, names = self._spelt(connection)
            given = [[row[name] for name in names] for row in rows]
            _driver(connection).executemany(text, given)
        else:
            connection.execute(self._statement, rows)

    def scalar(self, connection: Connection, given: Mapping[str, Any]) -> Any:
        """The first column of the one row there may be; else None."""
        if connection.dialect.name == "sqlite":
            text, names = self._spelt(connection)
            row = _driver(connection).execute(text, [given[name] for name in names]).fetchone()
            return None if row is None else row[0]
        return connection.execute(self._statement, given).scalar_one_or_none()

    def _spelt(self, connection: Connection) -> tuple[str, Sequence[str]]:
        if not self._text:
            compiled = cast("Any", self._statement.compile(connection))
            self._names, self._text = compiled.positiontup, compiled.string
        return self._text, self._names


def _driver(connection: Connection) -> Any:
    return cast("Any", connection.connection.driver_connection)


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
