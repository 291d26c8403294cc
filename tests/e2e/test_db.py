"""`isthmus db`: exit codes that jobs go by, and a server that is told to migrate nothing."""

import json
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from isthmus.adapters.stores.schema import OURS
from tests.support.process import PROGRAM, RunningServer, prepare, running_server


@pytest.fixture
def idle(tmp_path: Path) -> RunningServer:
    """A server that was never started."""
    return prepare(tmp_path)


def test_a_job_learns_from_the_exit_code_how_the_schema_is(idle: RunningServer) -> None:
    behind = idle.command("db", "check")
    assert behind.returncode == 1, behind.stderr
    assert "isthmus db migrate --phase pre" in behind.stdout
    assert not (idle.folder / "var").exists(), "looking makes nothing"

    early = idle.command("db", "migrate", "--phase", "pre")
    assert early.returncode == 0, early.stderr
    assert OURS.pre in early.stdout
    assert idle.command("db", "migrate", "--phase", "post").returncode == 0
    assert "nothing to do" in idle.command("db", "migrate").stdout

    current = idle.command("db", "check", "--json")
    assert current.returncode == 0, current.stderr
    told = json.loads(current.stdout)
    assert told["state"] == "up to date"
    assert told["schema"] == told["release"] == str(OURS)
    assert told["tables"] > 10

    _stamp(idle.folder / "var" / "isthmus.db", "9998")
    ahead = idle.command("db", "check", "--json")
    assert (ahead.returncode, json.loads(ahead.stdout)["state"]) == (3, "ahead")
    _stamp(idle.folder / "var" / "isthmus.db", "p9999_9998")
    beyond = idle.command("db", "check", "--json")
    assert (beyond.returncode, json.loads(beyond.stdout)["state"]) == (3, "too new")
    assert "db restore" in json.loads(beyond.stdout)["mend"]


def test_a_database_that_does_not_answer_is_named_by_its_setting(idle: RunningServer) -> None:
    idle.environment["ISTHMUS_DATABASE__URL"] = "postgresql://u:hunter2-hunter2@127.0.0.1:1/d"
    for action in ("check", "migrate"):
        done = idle.command("db", action)
        assert done.returncode == 2
        assert "database.url" in done.stderr
        assert "hunter2-hunter2" not in done.stderr + done.stdout


def test_a_server_that_may_not_migrate_tells_what_to_run_and_serves_after_it(
    tmp_path: Path,
) -> None:
    settings = {"ISTHMUS_DATABASE__MIGRATE": "false"}
    idle = prepare(tmp_path, settings)
    refused = subprocess.run(
        [PROGRAM, "server"],
        env=idle.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert refused.returncode == 2, refused.stderr
    assert "isthmus db migrate --phase pre" in refused.stderr
    assert idle.command("db", "migrate", "--phase", "pre").returncode == 0
    with running_server(tmp_path, settings) as server:
        server.wait_for_sessions()
        assert server.command("db", "backup", "copy.gz").returncode == 0
        busy = server.command("db", "restore", "copy.gz", "--force")
        assert (busy.returncode, "stop it first" in busy.stderr) == (2, True), busy.stderr
        assert server.stop() == os.EX_OK
        assert server.command("db", "restore", "copy.gz").returncode == 0


def _stamp(file: Path, step: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("INSERT INTO alembic_version VALUES (?)", (step,))
    connection.close()
