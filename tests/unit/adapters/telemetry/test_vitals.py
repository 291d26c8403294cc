"""Series of the process, and of the sessions that run in it."""

import asyncio
import time

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from isthmus import __version__
from isthmus.adapters.telemetry.exposition import Show, Shown
from isthmus.adapters.telemetry.live import LiveSessions
from isthmus.adapters.telemetry.pipeline import open_telemetry
from isthmus.adapters.telemetry.prometheus import Prometheus
from isthmus.adapters.telemetry.vitals import About
from isthmus.app.foundation import about
from isthmus.core.events import (
    CertificateLoaded,
    Crashed,
    Fact,
    KeysRefreshed,
    SessionEnded,
    SessionStarted,
    Stopping,
    ToolCalled,
)
from isthmus.core.session_facts import ActionAnswered, CheckpointWritten
from isthmus.settings import HttpSettings, Settings
from tests.support.clock import HandClock


def values(page: bytes) -> dict[str, float]:
    """What a page says: name and labels as they are written -> value."""
    return {
        sample.name + ("" if not sample.labels else str(sorted(sample.labels.values()))): value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        for value in [sample.value]
    }


def page_of(shows: tuple[Show, ...]) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(Shown(shows))
    return values(generate_latest(registry))


def pages(*facts: Fact, told: About | None = None) -> list[dict[str, float]]:
    metrics = Prometheus(about=told)
    metrics.take([(1.0, "", fact) for fact in facts])
    return [values(metrics.http_page()), values(metrics.platform_page())]


def test_both_pages_tell_of_the_process() -> None:
    for found in pages():
        assert found[f"isthmus_build_info{sorted([__version__, 'grpc,http'])}"] == 1
        assert found["server_draining"] == 0
        assert found["crashes_total"] == 0
        assert found["event_loop_lag_seconds_count"] == 0


def test_drain_bugs_certificates_and_keys_are_told() -> None:
    facts = (
        Stopping("SIGTERM"),
        Crashed("session", "ValueError", ""),
        CertificateLoaded("http", 1_900_000_000.5),
        CertificateLoaded("grpc", 1_800_000_000.0),
        CertificateLoaded("grpc", 1_850_000_000.0),
        KeysRefreshed("https://a.example", 0, "no answer"),
        KeysRefreshed("https://b.example", 0, "no answer"),
        KeysRefreshed("https://b.example", 2),
    )
    for found in pages(*facts):
        assert found["server_draining"] == 1
        assert found["crashes_total"] == 1
        assert found["tls_certificate_not_after_seconds['http']"] == 1_900_000_000
        assert found["tls_certificate_not_after_seconds['grpc']"] == 1_850_000_000
        assert found["auth_key_set_failing['https://a.example']"] == 1
        assert found["auth_key_set_failing['https://b.example']"] == 0


def test_only_the_second_page_of_a_process_says_that_it_repeats() -> None:
    repeated = [one["isthmus_page_repeated"] for one in pages(told=About(repeated=True))]
    assert repeated == [0, 1]


def test_a_process_repeats_itself_when_it_has_both_pages() -> None:
    assert about(Settings()).repeated
    assert not about(Settings(transports=("grpc",))).repeated
    assert not about(Settings(http=HttpSettings(metrics_port=None))).repeated


def test_a_session_without_a_step_for_too_long_is_stuck() -> None:
    clock = HandClock()
    live = LiveSessions(9, 600.0, clock.now_s)
    live.started(SessionStarted("1", "chat", "start"))
    clock.advance(500.0)
    live.started(SessionStarted("2", "chat", "start"))
    clock.advance(101.0)
    assert page_of(live.shows) == {
        "agent_platform_sessions_live": 2,
        "agent_platform_sessions_limit": 9,
        "agent_platform_sessions_stuck": 1,
        "agent_platform_session_quiet_seconds": 601,
    }
    for step in (
        ActionAnswered("1", "runReadFile", 1.0),
        ToolCalled("1", "chat", "read_file", 1.0, ""),
        CheckpointWritten("1", 10, 1, 0.1),
    ):
        clock.advance(550.0)
        live.stepped(step)
        found = page_of(live.shows)
        assert found["agent_platform_session_quiet_seconds"] >= 600
        assert found["agent_platform_sessions_stuck"] == 1
    live.ended(SessionEnded("2", "chat", "finished", "", 1.0, 1))
    found = page_of(live.shows)
    assert found["agent_platform_sessions_live"] == 1
    assert found["agent_platform_sessions_stuck"] == 0
    assert found["agent_platform_session_quiet_seconds"] == 0


def test_steps_of_a_session_that_ended_are_not_a_session() -> None:
    live = LiveSessions(1, 1.0)
    live.ended(SessionEnded("1", "chat", "finished", "", 1.0, 1))
    live.stepped(CheckpointWritten("1", 10, 1, 0.1))
    assert page_of(live.shows)["agent_platform_sessions_live"] == 0


def test_a_page_follows_sessions_by_their_facts() -> None:
    step = ToolCalled("1", "chat", "read_file", 1.0, "")
    begun = SessionStarted("1", "chat", "start")
    ended = SessionEnded("1", "chat", "finished", "", 1.0, 1)
    _, running = pages(begun, step)
    _, over = pages(begun, step, ended)
    name = "agent_platform_sessions_live"
    assert (running[name], over[name]) == (1, 0)


async def test_a_loop_that_is_held_up_is_late() -> None:
    late: list[float] = []
    async with open_telemetry(lag=late.append):
        async with asyncio.timeout(30):
            while len(late) < 2:  # noqa: ASYNC110 - the pipeline tells nobody when it looks
                await asyncio.sleep(0.01)
        time.sleep(0.4)  # noqa: ASYNC251 - this is the fault
        count = len(late)
        async with asyncio.timeout(30):
            while len(late) == count:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
    assert max(late[count:]) >= 0.25


async def test_a_busy_loop_is_looked_at_ten_times_a_second_as_well() -> None:
    late: list[float] = []
    async with open_telemetry(lag=late.append) as pipeline:
        until_s = time.monotonic() + 1.0
        while time.monotonic() < until_s:
            for _ in range(64):
                pipeline.emit(Stopping("again"))
            await asyncio.sleep(0)
    assert 0 < len(late) <= 11
