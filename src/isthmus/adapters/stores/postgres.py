"""PostgreSQL through asyncpg, with a pool of connections."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, cast

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from isthmus.adapters.stores.failures import CommitUnsure

Result = TypeVar("Result")

CONNECT_S: Final = 5


class PostgresDriver:
    """Runs transactions on pooled connections. Built by `open_postgres`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.dialect = "postgresql"
        self._engine = engine
        # A page is read by several statements, which must see one state.
        self._reading = engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    async def run(self, work: Callable[[Connection], Result], *, writing: bool) -> Result:
        """One transaction; a cancelled caller rolls it back."""
        engine = self._engine if writing else self._reading
        async with engine.connect() as connection:
            transaction = await connection.begin()
            result = await connection.run_sync(work)
            try:
                await transaction.commit()
            except (SQLAlchemyError, OSError) as error:
                raise CommitUnsure("commit failed") from error
            return result

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


def open_postgres(url: str, pool_size: int, *, statement_s: float) -> PostgresDriver:
    """A pool for `url` (libpq form, as asyncpg reads it); connects when first used."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=_connector(url, statement_s),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_S * 2,
        pool_use_lifo=True,
        hide_parameters=True,
    )
    return PostgresDriver(engine)


def _connector(url: str, statement_s: float) -> Callable[[], Awaitable[object]]:
    async def connect() -> object:
        try:
            connection = cast(
                object,
                await asyncpg.connect(
                    url,
                    timeout=CONNECT_S,
                    command_timeout=statement_s,
                    server_settings={"application_name": "isthmus"},
                ),
            )
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ConnectionError("PostgreSQL refused the connection") from error
        except ValueError:
            # Its text may quote a part of the URL, and so of the password.
            raise ConnectionError("the URL is not one that asyncpg can read") from None
        return connection

    return connect
