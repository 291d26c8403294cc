"""Fixtures of databases and of Redis; a pytest plugin.

Where no server is to be had, the cases that need one are skipped, and the run ends by saying so.
With CI=true in the environment that is a failure.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.support.redis import redis_server
from tests.support.servers import NO_SERVER, Missing, Server

if TYPE_CHECKING:
    from isthmus.adapters.stores.database import Database

Found = TypeVar("Found")

# SQLAlchemy and asyncpg are imported by the fixtures that need them: most tests do not.


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server; tests use it through `fresh_schema`."""
    from tests.support.postgres import postgres_server

    with postgres_server() as server:
        yield required(server)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a Redis or Valkey whose keys may be anything: prefix yours."""
    with redis_server() as server:
        yield required(server).url


@pytest.fixture(params=["sqlite", "postgres"])
def store_server(request: pytest.FixtureRequest) -> Server | None:
    """Runs a test once on each kind of database; None stands for SQLite."""
    # Import here, before a loop runs: it touches files.
    import isthmus.adapters.stores.database

    assert isthmus.adapters.stores.database
    return request.getfixturevalue("postgres") if request.param == "postgres" else None


@pytest.fixture
async def database_url(store_server: Server | None, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of an empty database, of each kind in turn."""
    from isthmus.adapters.stores.database import sqlite_url

    if store_server is None:
        yield sqlite_url(tmp_path / "isthmus.db")
        return
    from tests.support.postgres import fresh_schema

    async with fresh_schema(store_server) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database with the newest schema, of each kind in turn."""
    from isthmus.adapters.stores.database import open_database

    async with open_database(database_url, pool_size=5) as opened:
        yield opened


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out for want of a server."""
    reports: list[pytest.TestReport] = terminalreporter.stats.get("skipped", [])
    told = [report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)]
    reasons = Counter(text.removeprefix("Skipped: ") for text in told if NO_SERVER in text)
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"LEFT OUT {count} tests: {reason}", yellow=True, bold=True)


def required(found: Found | Missing) -> Found:
    """What was found; in CI everything has to be."""
    if not isinstance(found, Missing):
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(NO_SERVER + found.reason)
    pytest.skip(NO_SERVER + found.reason)
