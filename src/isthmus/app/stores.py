"""The database and the stores upon it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database, open_database
from isthmus.adapters.stores.events import SqlEventQueue
from isthmus.adapters.stores.flags import SqlFlagStore
from isthmus.adapters.stores.leases import SqlLeases
from isthmus.adapters.stores.ledger import SqlLedger
from isthmus.adapters.stores.places import SqlPlaceStore
from isthmus.adapters.stores.records import SqlRecordStore
from isthmus.adapters.stores.tokens import SqlTokenStore
from isthmus.adapters.stores.usage import SqlUsageStore
from isthmus.adapters.stores.users import SqlUserStore
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.app.database import database_url
from isthmus.core.errors import Invalid, Unavailable
from isthmus.core.lease import Leases
from isthmus.core.ledger import Ledger
from isthmus.core.ports import (
    CheckpointStore,
    Clock,
    FlagStore,
    PlaceStore,
    TokenStore,
    UserStore,
    WorkflowStore,
)
from isthmus.core.records import EventQueue, RecordStore
from isthmus.core.usage import UsageStore
from isthmus.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Stores:
    """Every store, on one database."""

    database: Database
    workflows: WorkflowStore
    checkpoints: CheckpointStore
    leases: Leases
    ledger: Ledger
    records: RecordStore
    events: EventQueue
    users: UserStore
    places: PlaceStore
    tokens: TokenStore
    flags: FlagStore
    usage: UsageStore


@asynccontextmanager
async def open_stores(settings: Settings, clock: Clock) -> AsyncIterator[Stores]:
    """Open the database that is set. Raises SettingsError when that fails."""
    opened = open_database(
        database_url(settings),
        pool_size=settings.database.pool_size,
        migrate=settings.database.migrate,
    )
    async with AsyncExitStack() as stack:
        try:
            database = await stack.enter_async_context(opened)
        except (Invalid, Unavailable) as error:
            raise SettingsError(f"database.url: {error}") from error
        yield stores_on(database, clock)


def stores_on(database: Database, clock: Clock) -> Stores:
    """Every store, on this database."""
    return Stores(
        database=database,
        workflows=SqlWorkflowStore(database, clock),
        checkpoints=SqlCheckpointStore(database),
        leases=SqlLeases(database),
        ledger=SqlLedger(database),
        records=SqlRecordStore(database, clock),
        events=SqlEventQueue(database),
        users=SqlUserStore(database, clock),
        places=SqlPlaceStore(database),
        tokens=SqlTokenStore(database, clock),
        flags=SqlFlagStore(database),
        usage=SqlUsageStore(database),
    )
