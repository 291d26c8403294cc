"""A real Prometheus scrapes the busy server: rules, alerts and dashboards have their series."""

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.deploy.prometheus import FOLDER, Prometheus, families, promtool, scraping, soon
from tests.deploy.traffic import Traffic, busy_server
from tests.e2e.test_metering import page

JOBS = {"isthmus-gateway": "up", "isthmus-platform": "up"}
OFTEN = {
    "scrape_interval: 15s": "scrape_interval: 1s",
    "evaluation_interval: 15s": "evaluation_interval: 1s",
}
CONTRACT_LINT: frozenset[str] = frozenset()
"""What promtool has against names that the contracts prescribe: nothing, so far."""
SERIES = re.compile(r"\b(?:[a-z]+_)+[a-z]+\b(?!\s*\()")
WINDOWS = {"$__rate_interval": "5m", "$__interval": "15s", "$__range": "5m"}


@dataclass(frozen=True)
class Watched:
    """A busy server, and a Prometheus that looks at it each second."""

    traffic: Traffic
    prometheus: Prometheus


@pytest.fixture(scope="module", name="watched")
def _watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("busy")
    with (
        busy_server(folder) as traffic,
        scraping(folder, traffic.server, OFTEN) as prometheus,
    ):
        # What is counted for the first time has no rate: the second round gives it one.
        for _ in range(2):
            asyncio.run(traffic.round())
            at_s = soon(lambda: prometheus.values("max(timestamp(isthmus_build_info))"))
            assert at_s
            now = f"min(timestamp(isthmus_build_info)) > {at_s[0]}"
            assert soon(lambda now=now: prometheus.values(now))
        yield Watched(traffic, prometheus)


def test_everything_that_is_shown_and_alarmed_about_is_there(watched: Watched) -> None:
    """One test: the server and its traffic cost more than all that is asked of them."""
    prometheus, server = watched.prometheus, watched.traffic.server
    assert prometheus.targets() == JOBS
    pages = [page(server.metrics), page(server.platform_metrics)]
    for one in pages:
        assert lint(one) == CONTRACT_LINT
    known = families("\n".join(pages)) | recorded() | {"up"}
    assert not undocumented("\n".join(pages))
    unknown = {name for rule in rules() for name in SERIES.findall(names(rule["expr"]))} - known
    assert not unknown
    states = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(states) == len(rules())
    assert not [rule["name"] for rule in states if rule["health"] == "err"]
    for board in dashboards():
        variables = offered(board, prometheus)
        for panel, query in queries(board):
            sent = substituted(query, variables)
            numbers = soon(lambda sent=sent: prometheus.values(sent))
            assert numbers, f"{board['title']}, {panel}: {sent}"
    # A breaker is open, and the certificate lasts for an hour.
    assert raised(prometheus, "IsthmusBreakerOpen")
    assert raised(prometheus, "IsthmusCertificateEndsSoon")
    assert not prometheus.values('ALERTS{alertname="IsthmusSessionsStuck"}')
    asyncio.run(watched.traffic.stall(lambda: raised(prometheus, "IsthmusSessionsStuck")))
    # The first signal begins a drain without an end, the second one ends it.
    server.process.send_signal(signal.SIGTERM)
    assert raised(prometheus, "IsthmusDrainStuck")
    assert server.stop() == 0
    assert raised(prometheus, "IsthmusDown")


def raised(prometheus: Prometheus, alert: str) -> bool:
    """Whether an alert is raised, or will be if things stay so, soon."""
    return bool(soon(lambda: prometheus.values(f'ALERTS{{alertname="{alert}"}}')))


def offered(board: dict[str, Any], prometheus: Prometheus) -> dict[str, str]:
    """What stands for each variable of a dashboard: all that it offers."""
    values = dict(WINDOWS)
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
            assert asked
            match = {"match[]": substituted(asked[1], values)}
            found = prometheus.ask(f"label/{asked[2]}/values", **match)
            assert found, variable["definition"]
            values["$" + variable["name"]] = "|".join(found)
    return values


def queries(board: dict[str, Any]) -> list[tuple[str, str]]:
    """Panel and expression of each query."""
    return [
        (panel["title"], target["expr"])
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]


def substituted(expression: str, values: dict[str, str]) -> str:
    """A query as Grafana would send it."""
    for name, value in values.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def dashboards() -> list[dict[str, Any]]:
    paths = sorted((FOLDER / "dashboards").glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def rules() -> list[dict[str, Any]]:
    paths = sorted((FOLDER / "rules").glob("*.yml"))
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}


def undocumented(text: str) -> set[str]:
    """Families of a page that docs/guide/telemetry.md does not name."""
    told = (FOLDER.parents[1] / "docs" / "guide" / "telemetry.md").read_text(encoding="utf-8")
    found = re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE)
    usual = ("process_", "python_")
    return {
        name
        for name in found
        if not name.startswith(usual) and not name.endswith("_created") and f"`{name}`" not in told
    }


def names(expression: str) -> str:
    """An expression without its labels, durations and words: what is left may be series."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", expression)
    return re.sub(r"\b(?:by|on|group_left|without)\s*\([^)]*\)|isthmus:[a-z0-9_:]+", "", bare)


def lint(text: str) -> frozenset[str]:
    """What promtool has against a page."""
    done = promtool("check", "metrics", given=text.encode())
    said = frozenset((done.stdout + done.stderr).decode().splitlines()) - {""}
    assert done.returncode == 0 or said
    return said
