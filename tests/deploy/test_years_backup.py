"""A copy made under load, an upgrade that went too far, and the way back: the guide's commands."""

import asyncio
import subprocess
import threading
from pathlib import Path

from isthmus.adapters.stores.database import connect_database
from tests.deploy.years import DONE, SCRIPTS, Turn, complete, identity
from tests.support.guide import block
from tests.support.next_release import steps_of_the_next
from tests.support.process import PROGRAM, RunningServer, running_server, start
from tests.support.scripted_upstream import scripted_upstream


def test_the_guide_there_and_back(database_url: str, tmp_path: Path) -> None:
    """`docs/guide/upgrade.md`: what it shows, in its order."""
    before = block("upgrade", "sh", "db backup")
    pre, post = block("upgrade", "sh", "--phase pre"), block("upgrade", "sh", "--phase post")
    with scripted_upstream(SCRIPTS) as upstream:
        settings = {"ISTHMUS_DATABASE__URL": database_url, **upstream.settings()}
        with running_server(tmp_path, settings) as server:
            server.wait_for_sessions()
            headers = identity(server)
            with Turn(server, headers, "7", "[work]") as turn:
                turn.answer(turn.until("runReadFile"))
                action = turn.until("listDirectory")
                assert set(_loaded(server, headers, before + pre + post)) == {200}
                turn.answer(action)
                assert turn.play() == []
                assert turn.said == DONE
            assert server.stop() == 0
            _go_too_far(database_url, tmp_path)
            refused = subprocess.run(
                [PROGRAM, "server"],
                env=server.environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (refused.returncode, "db restore" in refused.stderr) == (2, True), refused.stderr
            back = server.script(block("upgrade", "sh", "db restore"))
            assert back.returncode == 0, back.stderr
            start(server)
            server.wait_for_sessions()
            with Turn(server, headers, "7") as turn:
                assert turn.play() == ["listDirectory"], (turn.code, turn.details)
                assert turn.said == DONE


def _loaded(server: RunningServer, headers: dict[str, str], script: str) -> list[int]:
    """Run commands while completions are asked for; what these were answered with."""
    end, seen = threading.Event(), list[int]()

    def ask() -> None:
        while not (end.wait(0.1) and seen):
            seen.append(complete(server, headers))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        done = server.script(script, timeout_s=240)
        assert done.returncode == 0, done.stderr
    finally:
        end.set()
        thread.join()
    return seen


def _go_too_far(url: str, folder: Path) -> None:
    steps = steps_of_the_next(folder)

    async def apply() -> None:
        async with connect_database(url) as database:
            assert await database.write(steps.apply)

    asyncio.run(apply())
