"""A wall clock that is set hours ahead and back under a real server, with a session that runs."""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import httpx
import pytest

from isthmus.core.workflow import STORED, Status
from isthmus.instance.sweep import period_s
from tests.deploy.prometheus import soon
from tests.deploy.years import DONE, SCRIPTS, Turn, complete, identity
from tests.support.process import RunningServer, running_server, start
from tests.support.scripted_upstream import scripted_upstream
from tests.support.wall_clock import WallClock

OPEN: Final = 2.0
RUNNING: Final = STORED[Status.RUNNING]
HOURS_3: Final = 3 * 3_600
SETTINGS: Final = """
instance: {stuck_after_s: 10}
usage: {flush_s: 0.2}
limits:
  rules:
    - {name: few, amount: 3, window: hour, by: user, where: {user: greedy}}
routing:
  deployments:
    nano-broken: {model: gpt_5_4_nano, base_url: "http://127.0.0.1:1"}
"""
PROXY: Final = "ai_gateway_model_provider_proxy"
DEAD: Final = {"model": "gpt-5.4-nano", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(name="clock")
def _clock(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path)


@pytest.fixture(name="server")
def _server(tmp_path: Path, clock: WallClock) -> Iterator[RunningServer]:
    (tmp_path / "isthmus.yml").write_text(SETTINGS, encoding="utf-8")
    with (
        scripted_upstream(SCRIPTS) as upstream,
        running_server(
            tmp_path,
            {**upstream.settings(), **clock.environment},
            arguments=("--config", "isthmus.yml"),
        ) as server,
    ):
        server.wait_for_sessions()
        yield server


def test_hours_ahead_and_back(server: RunningServer, clock: WallClock) -> None:
    before = identity(server)
    greedy = {"x-gitlab-global-user-id": "greedy"}
    seen: list[int] = []

    def ask(headers: Mapping[str, str]) -> int:
        seen.append(complete(server, headers))
        return seen[-1]

    # Leases, windows and breakers go by the monotonic clock.
    assert [ask(before | greedy) for _ in range(4)] == [200, 200, 200, 429]
    assert _breaker(server, before) == OPEN
    with Turn(server, before, "7", "[work]") as turn:
        action = turn.until("runReadFile")
        clock.ahead(HOURS_3)
        ahead = identity(server)
        assert soon(lambda: ask(before) == 401), "a token ends on time, or a second later"
        assert ask(ahead) == 200
        assert ask(ahead | greedy) == 429
        assert _breaker_told(server) == OPEN
        time.sleep(2 * period_s(10))
        assert _status(server) == RUNNING, "what lives is not given up"
        turn.answer(action)
        turn.until("listDirectory")
    server.process.kill()
    server.process.wait()

    clock.ahead(0)
    start(server, ("--config", "isthmus.yml"))
    server.wait_for_sessions()
    back = identity(server)
    assert ask(ahead) == 401, "a token is good from when it was made"
    assert ask(back) == 200
    with Turn(server, back, "7") as turn:
        assert turn.play() == ["listDirectory"], (turn.code, turn.details)
    with Turn(server, back, "7", "And now?") as turn:
        assert turn.play() == [], "the newest step is the last one"
        assert turn.said[: len(DONE)] == DONE
    assert server.stop() == 0
    assert _counted(server) == seen.count(200)


def _breaker(server: RunningServer, headers: Mapping[str, str]) -> float | None:
    """Call what nobody answers until its breaker opens; what the metrics say of it."""
    url = f"{server.url}/v1/proxy/openai/v1/chat/completions"
    for _ in range(5):
        httpx.post(
            url, json=DEAD, headers={**headers, "x-gitlab-unit-primitive": PROXY}, timeout=30
        )
    soon(lambda: _breaker_told(server) == OPEN)
    return _breaker_told(server)


def _breaker_told(server: RunningServer) -> float | None:
    text = httpx.get(f"http://127.0.0.1:{server.metrics}/metrics").text
    for line in text.splitlines():
        if "model_breaker_state{" in line and "nano-broken" in line:
            return float(line.rpartition(" ")[2])
    return None


def _row(server: RunningServer, question: str) -> int:
    with closing(sqlite3.connect(server.folder / "var" / "isthmus.db")) as connection:
        return int(connection.execute(question).fetchone()[0])


def _status(server: RunningServer) -> int:
    return _row(server, "SELECT status FROM workflows WHERE id = 7")


def _counted(server: RunningServer) -> int:
    return _row(
        server,
        "SELECT sum(requests) FROM usage WHERE feature = 'code_completions' AND outcome = 'ok'",
    )
