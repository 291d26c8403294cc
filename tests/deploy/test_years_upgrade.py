"""From one release to the next with sessions in the middle, on both databases, and back.

`tests/wire/database/0003.*.sql` is what a server of schema 0003 left behind when it was killed: an
account with a token, an hour of usage, and session 7, which waits for its second tool. The other
file has the statements of such a server that begins session 8 and is killed in the same place.
"""

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from isthmus.adapters.stores.database import connect_database
from isthmus.adapters.stores.schema import OURS
from tests.deploy.years import DONE, SCRIPTS, Turn, execute, identity
from tests.support.next_release import NEXT, steps_of_the_next
from tests.support.process import RunningServer, prepare, running_server, start
from tests.support.scripted_upstream import Upstream, scripted_upstream

WIRE: Final = Path(__file__).resolve().parents[1] / "wire" / "database"
OLD: Final = "0003"
TOKEN: Final = "glpat-" + "SEpkAx3MvKWRkEkQt1tEKhnbbue6DU1Ehr9zmDThfyU"
"""Made by the old release; the database knows its digest."""


@pytest.fixture(name="upstream", scope="module")
def _upstream() -> Iterator[Upstream]:
    with scripted_upstream(SCRIPTS) as upstream:
        yield upstream


def recorded(url: str, what: str = "") -> str:
    """What an old server wrote on this kind of database."""
    kind = url.partition(":")[0]
    return (WIRE / f"{OLD}.{kind}{what}.sql").read_text(encoding="utf-8")


def settings(url: str, upstream: Upstream) -> dict[str, str]:
    return {"ISTHMUS_DATABASE__URL": url, **upstream.settings()}


def test_sessions_of_the_release_before_go_on(
    database_url: str, tmp_path: Path, upstream: Upstream
) -> None:
    execute(database_url, recorded(database_url))
    given = settings(database_url, upstream) | {"ISTHMUS_DATABASE__MIGRATE": "false"}
    server = prepare(tmp_path, given)
    early = server.command("db", "migrate", "--phase", "post")
    assert (early.returncode, "come first" in early.stderr) == (2, True), early.stderr
    missing = [f"{number:04d}" for number in range(int(OLD) + 1, int(OURS.pre) + 1)]
    pre = server.command("db", "migrate", "--phase", "pre")
    assert pre.stdout == f"Done: {', '.join(missing)}.\n"
    # Old servers still run, and begin sessions: before the new one, and beside it.
    execute(database_url, recorded(database_url, ".session"))
    start(server)
    try:
        server.wait_for_sessions()
        execute(database_url, _of_session_9(recorded(database_url, ".session")))
        headers = identity(server)
        for workflow_id in ("7", "8", "9"):
            with Turn(server, headers, workflow_id) as turn:
                assert turn.play() == ["listDirectory"], (turn.code, turn.details)
                assert turn.said == DONE
                assert turn.statuses[-1] == "INPUT_REQUIRED"
        user = httpx.get(f"{server.url}/api/v4/user", headers={"authorization": f"Bearer {TOKEN}"})
        assert (user.status_code, user.json()["username"]) == (200, "local")
        assert server.command("db", "migrate", "--phase", "post").returncode == 0
        assert json.loads(server.command("db", "check", "--json").stdout)["state"] == "up to date"
    finally:
        assert server.stop() == 0


def _of_session_9(statements: str) -> str:
    """The same, of another session."""
    told, count = re.subn(r"'8'|(?<=VALUES \()8\b|(?<=workflows\.id = )8\b", _nine, statements)
    assert count > 20
    return told


def _nine(found: re.Match[str]) -> str:
    return found[0].replace("8", "9")


def test_servers_are_exchanged_under_a_session_that_runs(
    database_url: str, tmp_path: Path, upstream: Upstream
) -> None:
    given = settings(database_url, upstream)
    with running_server(tmp_path, given) as old:
        old.wait_for_sessions()
        headers = identity(old)
        with Turn(old, headers, "7", "[work]") as turn:
            action = turn.until("runReadFile")
            _to_the_next(database_url, tmp_path)
            # The old server goes on, and then goes.
            turn.answer(action)
            action = turn.until("listDirectory")
            old.process.send_signal(signal.SIGTERM)
            turn.answer(action)
            assert turn.play() == []
            assert turn.code.name == "UNAVAILABLE", turn.details
        assert old.process.wait(60) == 0
        _resumed(old, headers)


def _to_the_next(url: str, folder: Path) -> None:
    steps = steps_of_the_next(folder)

    async def pre() -> None:
        async with connect_database(url) as database:
            assert await database.write(lambda c: steps.apply(c, "pre")) == [NEXT]

    asyncio.run(pre())


def _resumed(server: RunningServer, headers: dict[str, str]) -> None:
    start(server)
    server.wait_for_sessions()
    with Turn(server, headers, "7") as turn:
        assert turn.play() == [], "what was done before is not done again"
        assert turn.said == DONE
    assert json.loads(server.command("db", "check", "--json").stdout)["state"] == "ahead"
