"""Feature flags in the database: those that somebody set."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from sqlalchemy import Connection, Row, select, update

from isthmus.adapters.stores.account_tables import flags
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.statements import insert_new
from isthmus.adapters.stores.text import invalid
from isthmus.core.flags import KNOWN, Flag, known

ACTORS_LIMIT: Final = 10_000
_IDS: Final = msgspec.json.Decoder(frozenset[int])


class SqlFlagStore:
    """The FlagStore port over SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = insert_new(flags, database.dialect)

    async def all(self) -> Mapping[str, Flag]:
        """Those that were set, by name."""
        statement = select(*flags.columns)
        found = await self._database.read(lambda c: [_flag(row) for row in c.execute(statement)])
        return {flag.name: flag for flag in found}

    async def change(self, name: str, apply: Callable[[Flag], Flag]) -> Flag:
        """Store `apply` of the flag, in one transaction; it may run twice, and on another thread.

        Raises Invalid for a flag that nobody reads, or one for over 10,000 namespaces or users.
        """
        if name not in KNOWN:
            raise invalid("name", "must be a known flag")
        one = flags.c.name == name

        def work(connection: Connection) -> Flag:
            connection.execute(self._insert, {"name": name, **_values(known(name))})
            row = connection.execute(select(*flags.columns).where(one).with_for_update()).one()
            changed = update(flags).where(one).values(_values(apply(_flag(row))))
            return _flag(connection.execute(changed.returning(*flags.columns)).one())

        return await self._database.write(work)


def _values(flag: Flag) -> dict[str, object]:
    if max(len(flag.namespaces), len(flag.users)) > ACTORS_LIMIT:
        raise invalid("name", f"must be set for at most {ACTORS_LIMIT} namespaces and users")
    return {
        "by_default": flag.default,
        "namespaces": _ids(flag.namespaces),
        "users": _ids(flag.users),
    }


def _ids(numbers: frozenset[int]) -> str:
    return msgspec.json.encode(sorted(numbers)).decode()


def _flag(row: Row[tuple[object, ...]]) -> Flag:
    return Flag(row.name, row.by_default, _IDS.decode(row.namespaces), _IDS.decode(row.users))
