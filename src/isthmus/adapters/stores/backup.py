"""Copies everything that a database holds into a file, and back into a database of any kind.

A copy is read in one transaction, so it is of one moment, whatever is written meanwhile. The way
back is one transaction as well: the database is as it was, or as the copy is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import (
    Boolean,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    func,
    insert,
    inspect,
    select,
    text,
)

from isthmus.adapters.stores import account_tables, record_tables, tables, usage_tables
from isthmus.adapters.stores.archive import Foot, Head, Row, Section, Writer, entries, written
from isthmus.adapters.stores.columns import metadata
from isthmus.adapters.stores.schema import Schema, read_schema
from isthmus.adapters.stores.steps import Steps
from isthmus.core.errors import Rejected

VERSIONS: Final = "alembic_version"
OF_OURS: Final = (account_tables, record_tables, tables, usage_tables)
"""The modules that fill `metadata`."""
_KINDS: Final = (Boolean, Integer, String, LargeBinary)
_PAGE_ROWS: Final = 1_000
_PAGE_BLOBS: Final = 20
_PAGE_BYTES: Final = 4 * 1024 * 1024
_SEEDED: Final = {"counters": 1, "users": 1, "places": 1}
"""How many rows each table has when nothing ever happened."""


def dump(connection: Connection, path: Path, head: Head) -> Mapping[str, int]:
    """Write all rows into a new file, whose head gets the schema; returns the rows by table.

    Blocks. Raises Rejected when there is nothing to keep, or when the file cannot be made.
    """
    schema = read_schema(connection)
    if not schema.pre:
        raise Rejected("database.url: there is no schema, and so nothing to keep")
    made = Head(head.isthmus_backup, head.release, schema.pre, schema.post, head.made_at)
    with written(path, made) as out:
        for table in _reflected(connection):
            out.section(_section(connection, table))
            _dump_rows(connection, table, out)
        return out.end()


def load(
    connection: Connection, path: Path, steps: Steps, *, force: bool = False
) -> Mapping[str, int]:
    """Put what the file holds in the place of all rows, with the schema of `steps`; rows by table.

    Blocks. Raises Rejected for a file that is unfit, and for a database that is in use: without
    `force` it must hold nothing. The transaction must then be rolled back.
    """
    if not force and _is_used(connection):
        raise Rejected("database.url: the database is not empty; --force replaces what is there")
    rows: Mapping[str, int] = {}
    target: dict[str, Table] = {}
    batch = _Batch(connection)
    for entry in entries(path):
        if isinstance(entry, Head):
            _clear(connection)
            _build(connection, steps, entry.schema, path)
            target = {table.name: table for table in _reflected(connection)}
        elif isinstance(entry, Section):
            batch.turn_to(_table(target, entry, path), entry)
        elif isinstance(entry, Foot):
            batch.flush()
            rows = entry.rows
        else:
            batch.add(entry)
    steps.apply(connection)
    return rows


class _Batch:
    """Rows on their way into a table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._table: Table | None = None
        self._columns: Sequence[str] = ()
        self._rows: list[Row] = []
        self._size_bytes = 0

    def turn_to(self, table: Table, section: Section) -> None:
        """The rows from here on are of this table, which is emptied."""
        self.flush()
        self._table, self._columns = table, section.columns
        # The steps put rows of their own there.
        self._connection.execute(table.delete())
        if section.counter is not None:
            _count_from(self._connection, table.name, section.counter)

    def add(self, row: Row) -> None:
        """One more."""
        self._rows.append(row)
        self._size_bytes += sum(len(v) for v in row if isinstance(v, str | bytes))
        if len(self._rows) >= _PAGE_ROWS or self._size_bytes > _PAGE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write those that wait."""
        if self._rows and self._table is not None:
            named = [dict(zip(self._columns, row, strict=True)) for row in self._rows]
            self._connection.execute(insert(self._table), named)
        self._rows, self._size_bytes = [], 0


def _reflected(connection: Connection) -> Sequence[Table]:
    """The tables as they are there, which may be those of another release."""
    found = MetaData()
    found.reflect(connection)
    chosen = [table for table in found.sorted_tables if table.name != VERSIONS]
    for table in chosen:
        for column in table.columns:
            if not isinstance(column.type, _KINDS):
                raise Rejected(
                    f"database.url: {table.name}.{column.name} is not of Isthmus; "
                    "it needs a database, or a schema, of its own"
                )
    return sorted(chosen, key=lambda table: table.name)


def _section(connection: Connection, table: Table) -> Section:
    # Names of SQLAlchemy are more than text.
    names = tuple(str(column.name) for column in table.columns)
    binary = [str(each.name) for each in table.columns if isinstance(each.type, LargeBinary)]
    return Section(str(table.name), names, tuple(binary), _counter(connection, table))


def _dump_rows(connection: Connection, table: Table, out: Writer) -> None:
    blobs = any(isinstance(column.type, LargeBinary) for column in table.columns)
    page = _PAGE_BLOBS if blobs else _PAGE_ROWS
    reading = connection.execution_options(yield_per=page)
    for row in reading.execute(select(table)):
        out.row(tuple(row))


def _counter(connection: Connection, table: Table) -> int | None:
    """The highest id that the table ever gave; None where it counts none."""
    if connection.dialect.name == "sqlite":
        if not inspect(connection).has_table("sqlite_sequence"):
            return None
        asked = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        return connection.execute(asked, {"name": table.name}).scalar()
    sequence = _sequence(connection, table.name)
    if sequence is None:
        return None
    asked = text("SELECT pg_sequence_last_value(CAST(CAST(:name AS text) AS regclass))")
    return connection.execute(asked, {"name": sequence}).scalar() or 0


def _count_from(connection: Connection, table: str, counter: int) -> None:
    """No id up to this one is given again."""
    named = {"name": table, "counter": counter}
    if connection.dialect.name == "sqlite":
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), named)
        connection.execute(text("INSERT INTO sqlite_sequence VALUES (:name, :counter)"), named)
        return
    sequence = _sequence(connection, table)
    if sequence is not None:
        called = {"sequence": sequence, "last": max(counter, 1), "called": counter > 0}
        asked = func.setval(called["sequence"], called["last"], called["called"])
        connection.execute(select(asked))


def _sequence(connection: Connection, table: str) -> str | None:
    """The name, quoted, of the sequence that numbers a table's rows."""
    if "id" not in {column["name"] for column in inspect(connection).get_columns(table)}:
        return None
    asked = select(func.pg_get_serial_sequence(f'"{table}"', "id"))
    return connection.execute(asked).scalar()


def _is_used(connection: Connection) -> bool:
    for table in _reflected(connection):
        count = connection.execute(select(func.count()).select_from(table)).scalar_one()
        if count > _SEEDED.get(table.name, 0):
            return True
    return False


def _clear(connection: Connection) -> None:
    """Drop our tables, and leave those of others."""
    names = metadata.tables.keys() | {VERSIONS}
    for name in names & set(inspect(connection).get_table_names()):
        connection.execute(text(f'DROP TABLE "{name}"'))


def _build(connection: Connection, steps: Steps, schema: Schema, path: Path) -> None:
    if schema.pre > steps.schema.pre or schema.post > steps.schema.post:
        raise Rejected(
            f"{path}: the backup has schema {schema}, which is newer than this release "
            f"({steps.schema}); restore it with the release that made it"
        )
    steps.build(connection, schema)


def _table(target: Mapping[str, Table], section: Section, path: Path) -> Table:
    table = target.get(section.table)
    if table is None or set(section.columns) != set(table.columns.keys()):
        raise Rejected(f"{path}: there is no table {section.table[:100]!r} with these columns")
    return table
