"""A full disk, and a database and a Valkey that go away: sessions pause, completions go on."""

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from isthmus.adapters.stores.database import connect_database
from tests.deploy.prometheus import soon
from tests.deploy.years import DONE, SCRIPTS, Turn, complete, identity
from tests.support.cut import network
from tests.support.fixtures_store import required
from tests.support.postgres import fresh_schema
from tests.support.process import RunningServer, running_server
from tests.support.scripted_upstream import scripted_upstream
from tests.support.servers import Missing, Server

GREEDY_ID = f"greedy-{uuid4().hex}"
"""The store is shared with other runs of this test, and its hour is longer than they are."""
LIMITS = f"""
usage: {{flush_s: 0.2}}
limits:
  local_share: 0.1
  rules:
    - {{name: few, amount: 30, window: hour, by: user, where: {{user: {GREEDY_ID}}}}}
"""
GREEDY = {"x-gitlab-global-user-id": GREEDY_ID}
COUNTED = "SELECT sum(requests) FROM usage WHERE feature = 'code_completions' AND outcome = 'ok'"


@pytest.fixture(name="disk")
def _disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    required(Missing(f"no small disk: {done.stderr}") if done.returncode else place)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_pauses_sessions_and_nothing_else(disk: Path, tmp_path: Path) -> None:
    with scripted_upstream(SCRIPTS) as upstream:
        settings = {**upstream.settings(), "ISTHMUS_DATA_DIR": str(disk / "var")}
        settings["ISTHMUS_USAGE__FLUSH_S"] = "0.2"
        with running_server(tmp_path, settings) as server:
            server.wait_for_sessions()
            headers = identity(server)
            with Turn(server, headers, "7", "[work]") as turn:
                action = turn.until("runReadFile")
                _fill(disk / "filler")
                turn.answer(action, "It is a small project. " * 4_000)
                turn.play()
                assert turn.code.name == "UNAVAILABLE", turn.details
                assert turn.statuses[-1] == "PAUSED"
            assert complete(server, headers) == 200
            (disk / "filler").unlink()
            _resumed(server, headers)
            assert soon(lambda: _lite(disk / "var" / "isthmus.db") == 1)


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(os.urandom(4_096))


def _lite(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(COUNTED).fetchone()[0] or 0)


def _resumed(server: RunningServer, headers: dict[str, str]) -> None:
    with Turn(server, headers, "7") as turn:
        turn.play()
        assert turn.said == DONE, (turn.code, turn.details)


@pytest.fixture(name="schema_url")
async def _schema_url(postgres: Server) -> AsyncIterator[str]:
    async with fresh_schema(postgres) as url:
        yield url


def test_a_database_and_a_valkey_that_go_away_and_come_back(
    schema_url: str, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "isthmus.yml").write_text(LIMITS, encoding="utf-8")
    with network(5432) as database, network(6379) as valkey, scripted_upstream(SCRIPTS) as upstream:
        settings = {
            **upstream.settings(),
            "ISTHMUS_DATABASE__URL": schema_url.replace(":5432", f":{database.port}"),
            "ISTHMUS_LIMITS__URL": redis_url.replace(":6379", f":{valkey.port}"),
        }
        with running_server(tmp_path, settings, arguments=("--config", "isthmus.yml")) as server:
            server.wait_for_sessions()
            headers = identity(server)
            seen = [complete(server, headers | GREEDY)]
            with Turn(server, headers, "7", "[work]") as turn:
                action = turn.until("runReadFile")
                database.cut()
                valkey.cut()
                turn.answer(action)
                turn.play()
                assert turn.code.name == "UNAVAILABLE", turn.details
                assert turn.statuses[-1] == "PAUSED"
            # A tenth of the amount is this process's own, and no more.
            alone = [complete(server, headers | GREEDY) for _ in range(5)]
            assert alone[0] == 200
            assert alone[-1] == 429
            seen += [*alone, complete(server, headers)]
            assert seen[-1] == 200
            assert server.logs("usage waits in files")
            database.mend()
            valkey.mend()
            _resumed(server, headers)
            assert soon(lambda: asyncio.run(_counted(schema_url)) == seen.count(200))
            assert soon(lambda: complete(server, headers | GREEDY) == 200)


async def _counted(url: str) -> int:
    async with connect_database(url) as database:
        return await database.read(lambda c: int(c.exec_driver_sql(COUNTED).scalar() or 0))
