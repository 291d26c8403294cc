"""`isthmus usage` on a real database, as a person types it."""

import asyncio
import csv
import io
import json
import time
from pathlib import Path

import pytest

from isthmus.app.foundation import SystemClock
from isthmus.app.stores import open_stores
from isthmus.cli.main import main
from isthmus.core.usage import BUCKETS, HOUR_S, Tally, UsageBatch, UsageKey, UsageRow
from isthmus.settings import load

HOUR = int(time.time()) // HOUR_S
BUSY = tuple(5 if index == 8 else 0 for index in range(BUCKETS))
ROWS = (
    UsageRow(
        UsageKey(HOUR, user="=cmd()", model="claude"),
        Tally(5, 1, 700, 30, 20, cost=42_000, shown=4, accepted=3, latency=BUSY),
    ),
    UsageRow(UsageKey(HOUR - 48, user="bob", model="local"), Tally(2, unpriced=2)),
)

CLAUDE = ["claude", "5", "1", "700", "20", "30", "0.0420", "75", "97.2", "4", "3", "0.75"]
LOCAL = ["local", "2", "0", "0", "0", "0", "0.0000+", "-", "-", "0", "0", "-"]


@pytest.fixture(autouse=True)
def _counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISTHMUS_DATA_DIR", str(tmp_path))

    settings = load()

    async def add() -> None:
        async with open_stores(settings, SystemClock()) as stores:
            await stores.usage.add(UsageBatch("1", ROWS))

    asyncio.run(add())


def told(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    code = main(["usage", *line.split()])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    heading, first, second = told("", capsys).splitlines()
    assert heading.split()[:4] == ["MODEL", "REQUESTS", "ERRORS", "INPUT"]
    assert first.split() == CLAUDE
    assert second.split() == LOCAL


def test_json_and_csv_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    groups = json.loads(told("--by user,day --format json --where model=claude", capsys))
    assert [each["by"]["user"] for each in groups] == ["=cmd()"]
    assert groups[0]["suggestions"]["acceptance_rate"] == 0.75
    first, second = csv.DictReader(io.StringIO(told("--by user --format csv", capsys)))
    assert (first["user"], first["cost_usd"], first["latency_ms_p50"]) == (
        "'=cmd()",
        "0.042",
        "75.0",
    )
    assert (second["user"], second["acceptance_rate"]) == ("bob", "")


def test_times_and_sums(capsys: pytest.CaptureFixture[str]) -> None:
    for line, requests in (("", 7), ("--since 3h", 5), ("--until 24h", 2)):
        told_json = told(f"--by= --format json {line}", capsys)
        assert [each["requests"] for each in json.loads(told_json)] == [requests]
    assert json.loads(told("--since 24h --until 12h --format json", capsys)) == []
    assert len(told("--since 24h --until 12h", capsys).splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("--by prompt", "--by does not have a valid value"),
        ("--since never", "--since does not have a valid value"),
        ("--where colour=red", "--colour does not have a valid value"),
    ],
)
def test_wrong_words_are_named(line: str, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", *line.split()]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"isthmus usage: {fault}\n")
