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
from isthmus.adapters.stores.database import migrate_database, open_database, sqlite_url
from isthmus.app.instance import Surroundings, use_cases
from isthmus.app.stores import Stores, stores_on
from isthmus.core.accounts import SCOPES, Member, NewUser, TokenKind, User
from isthmus.core.flags import Flag
from isthmus.edge.http.app import create
from isthmus.edge.http.membership import INWARD
from isthmus.edge.instance import InstanceServices
from isthmus.edge.services import Services
from isthmus.instance.accounts import Wish
from isthmus.instance.broker import Identity
from isthmus.instance.jobs import Site
from isthmus.settings import InstanceSettings
from tests.support.clock import HandClock
from tests.support.http_app import Stand
from tests.support.library import library_catalogue, library_models

URL = "http://instance.test"
IDENTITY = Identity("instance-1", "instance.test", "19.0.0-ee", "self-managed")
SITE = Site(URL, IDENTITY)


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
        stores = stores_on(database, clock)
        told = settings or InstanceSettings()
        gateway = Stand(clock=clock).services()
        around = Surroundings(
            settings=told,
            models=library_models(clock),
            grants=gateway.grant,
            site=SITE,
            clock=clock,
            telemetry=gateway.telemetry,
            limiter=InProcessLimiter(clock),
        )
        instance = use_cases(stores, around)

        async def door() -> InstanceServices:
            return instance

        services = replace(gateway, instance=door, instance_settings=told)
        alice = await enrol(instance, stores, "alice")
        bob = await enrol(instance, stores, "bob")
        group = await stores.places.add_group("acme")
        await stores.places.join(alice.user.id, group.id)
        await stores.places.add_project("acme/app")
        yield InstanceStand(stores, instance, services, create(services), clock, alice, bob)


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
