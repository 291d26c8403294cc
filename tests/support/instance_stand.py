"""The instance API over SQLite in a directory of the test's, with two users and their tokens."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus.adapters.limits.inprocess import InProcessLimiter
from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database, migrate_database, open_database, sqlite_url
from isthmus.adapters.stores.events import SqlEventQueue
from isthmus.adapters.stores.flags import SqlFlagStore
from isthmus.adapters.stores.places import SqlPlaceStore
from isthmus.adapters.stores.records import SqlRecordStore
from isthmus.adapters.stores.tokens import SqlTokenStore
from isthmus.adapters.stores.users import SqlUserStore
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.core.accounts import SCOPES, Member, NewUser, TokenKind, User
from isthmus.core.flags import Flag
from isthmus.core.ports import (
    CheckpointStore,
    Clock,
    EventQueue,
    FlagStore,
    PlaceStore,
    RecordStore,
    TokenStore,
    UserStore,
    WorkflowStore,
)
from isthmus.edge.http.app import create
from isthmus.edge.http.membership import INWARD
from isthmus.edge.instance import InstanceServices
from isthmus.edge.services import Services
from isthmus.instance.accounts import Accounts, Wish
from isthmus.instance.broker import Broker, Identity
from isthmus.instance.checkpoints import Checkpoints, Sources
from isthmus.instance.discovery import Discovery
from isthmus.instance.flags import Flags
from isthmus.instance.metadata import ModelMetadata
from isthmus.instance.oauth import OAuth
from isthmus.instance.places import Places
from isthmus.instance.signin import SignIn
from isthmus.instance.workflows import Workflows
from isthmus.platform.records import record_of
from isthmus.settings import InstanceSettings
from tests.support.clock import HandClock
from tests.support.http_app import Stand
from tests.support.library import library_catalogue, library_models

URL = "http://instance.test"
IDENTITY = Identity("instance-1", "instance.test", "19.0.0-ee", "self-managed")


@dataclass(frozen=True)
class Stores:
    """Every store, on one database."""

    database: Database
    workflows: WorkflowStore
    checkpoints: CheckpointStore
    records: RecordStore
    events: EventQueue
    users: UserStore
    places: PlaceStore
    tokens: TokenStore
    flags: FlagStore


@dataclass(frozen=True)
class Person:
    """A user, and a token with every scope."""

    user: User
    token: str
    member: Member

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}


@dataclass
class InstanceStand:
    """What a test may call and look at. `local` owns what needs no account: `alice`, `bob` do not.

    `group` is the path of a group of Alice's with a project `app`; Bob reaches neither.
    """

    stores: Stores
    instance: InstanceServices
    services: Services
    app: ASGIApp
    clock: HandClock
    alice: Person
    bob: Person
    group: str = "acme"

    @asynccontextmanager
    async def client(
        self, who: Person | None = None, *, relayed: bool = False
    ) -> AsyncIterator[httpx.AsyncClient]:
        """An HTTP client of a person's (Alice's), or the relay that acts for one."""
        person = who or self.alice
        app = inward(self.app) if relayed else self.app
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 40_000))
        async with httpx.AsyncClient(
            transport=transport, base_url=URL, headers=person.bearer
        ) as http:
            yield http

    def serve(self, instance: InstanceServices) -> None:
        """Serve other use cases from now on; clients that are open do not notice."""

        async def door() -> InstanceServices:
            return instance

        self.instance = instance
        self.services = replace(self.services, instance=door)
        self.app = create(self.services)

    async def token(self, who: Person, kind: TokenKind, *scopes: str) -> dict[str, str]:
        """Headers with another token of a person's."""
        minted = await self.instance.accounts.mint(who.user, Wish(kind, frozenset(scopes)))
        return {"authorization": f"Bearer {minted.text}"}

    async def flag(self, name: str, **changes: object) -> None:
        """Set a flag: `default=True`, `namespaces=frozenset({1})`, `users=...`."""

        def apply(flag: Flag) -> Flag:
            return replace(flag, **changes)  # pyright: ignore[reportArgumentType] - as tests say

        await self.instance.flags.change(name, apply)


def inward(app: ASGIApp) -> ASGIApp:
    """The application as the relay of this process calls it."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, INWARD: True}, receive, send)

    return serve


@asynccontextmanager
async def open_instance(
    directory: Path,
    settings: InstanceSettings | None = None,
    *,
    url: str = "",
) -> AsyncIterator[InstanceStand]:
    """The stand, on a new SQLite file in this directory, or on the database that `url` names."""
    clock = HandClock()
    file = directory / "isthmus.db"
    if not url:
        file.write_bytes(_new_database())
    async with open_database(url or sqlite_url(file), pool_size=4) as database:
        stores = open_stores(database, clock)
        told = settings or InstanceSettings()
        gateway = Stand(clock=clock).services()
        instance = instance_services(stores, told, gateway)

        async def door() -> InstanceServices:
            return instance

        services = replace(gateway, instance=door, instance_settings=told)
        alice = await enrol(instance, stores, "alice")
        bob = await enrol(instance, stores, "bob")
        group = await stores.places.add_group("acme")
        await stores.places.join(alice.user.id, group.id)
        await stores.places.add_project("acme/app")
        yield InstanceStand(stores, instance, services, create(services), clock, alice, bob)


def open_stores(database: Database, clock: Clock) -> Stores:
    """The real ones."""
    return Stores(
        database=database,
        workflows=SqlWorkflowStore(database, clock),
        checkpoints=SqlCheckpointStore(database),
        records=SqlRecordStore(database, clock),
        events=SqlEventQueue(database),
        users=SqlUserStore(database, clock),
        places=SqlPlaceStore(database),
        tokens=SqlTokenStore(database, clock),
        flags=SqlFlagStore(database),
    )


def instance_services(
    stores: Stores,
    settings: InstanceSettings,
    gateway: Services,
) -> InstanceServices:
    """The use cases over these stores."""
    clock = gateway.clock
    flags = Flags(stores.flags)
    places = Places(stores.places, register=settings.register_projects)
    workflows = Workflows(stores.workflows, places, flags, clock, settings)
    discovery = Discovery(library_models(clock), settings.pinned_models)
    sources = Sources(stores.records, stores.checkpoints, record_of)
    accounts = Accounts(stores.users, stores.tokens, clock)
    limiter = InProcessLimiter(clock)
    return InstanceServices(
        accounts=accounts,
        places=places,
        workflows=workflows,
        checkpoints=Checkpoints(workflows, sources, settings.keep_model),
        events=stores.events,
        flags=flags,
        metadata=ModelMetadata(discovery, flags),
        discovery=discovery,
        broker=Broker(gateway.grant, IDENTITY),
        oauth=OAuth(accounts, stores.users, stores.tokens, limiter, clock),
        sign_in=SignIn(stores.users, accounts, limiter),
        sessions=None,
        limiter=limiter,
        telemetry=gateway.telemetry,
        clock=clock,
        settings=settings,
    )


async def enrol(instance: InstanceServices, stores: Stores, name: str) -> Person:
    """A new user with a token."""
    user = await stores.users.create(NewUser(name, name.title()))
    minted = await instance.accounts.mint(user, Wish(TokenKind.PERSONAL, SCOPES))
    return Person(user, minted.text, Member(user, minted.token))


def prepare() -> None:
    """Read and import what a server does at its start: call it in a fixture, before a loop runs."""

    async def nobody() -> InstanceServices:
        raise NotImplementedError

    library_catalogue()
    _new_database()
    create(replace(Stand().services(), instance=nobody))


@cache
def _new_database() -> bytes:
    """A SQLite file with the newest schema: making one takes longer than most tests."""
    with TemporaryDirectory() as directory, ThreadPoolExecutor(1) as thread:
        file = Path(directory) / "new.db"
        thread.submit(asyncio.run, migrate_database(sqlite_url(file))).result()
        return file.read_bytes()
