"""The headless executor as a job starts it: from variables alone, on a network that breaks."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.cut import network
from tests.support.process import KEPT, PROGRAM, RunningServer, running_server

SLOW = {"ISTHMUS_PROVIDERS__SCRIPTED__PAUSE_MS": "700"}
MODEL = '{"provider":"gitlab","feature_setting":"duo_agent_platform"}'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / "README.md").write_text("# Demo\n")
    (folder / "main.py").write_text("x = 1  # TODO: rename\n")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "add", "-A"], check=True)
    return folder


def grpc_job(server: RunningServer, port: int, **more: str) -> dict[str, str]:
    """The variables of a job that speaks to the platform itself."""
    plain = {name: os.environ[name] for name in KEPT if name in os.environ}
    return plain | {
        "DUO_WORKFLOW_WORKFLOW_ID": "4711",
        "DUO_WORKFLOW_GOAL": "Look around",
        "DUO_WORKFLOW_DEFINITION": "chat",
        "DUO_WORKFLOW_SERVICE_SERVER": f"127.0.0.1:{port}",
        "DUO_WORKFLOW_SERVICE_TOKEN": server.token("duo_chat", "duo_agent_platform"),
        "DUO_WORKFLOW_INSECURE": "true",
        "DUO_WORKFLOW_METADATA": '{"extended_logging":false}',
        "DUO_WORKFLOW_ADDITIONAL_CONTEXT_CONTENT": "[]",
        "DUO_WORKFLOW_DEBUG": "false",
        "LOG_LEVEL": "debug",
        "AGENT_PLATFORM_GITLAB_VERSION": "19.0.0-ee",
        "AGENT_PLATFORM_MODEL_METADATA": MODEL,
        "GITLAB_DUO_CONNECTION_TYPE": "grpc",
        **more,
    }


def start(job: dict[str, str], clone: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [PROGRAM, "executor", *arguments],
        env=job,
        cwd=clone,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(run: "subprocess.Popen[str]", words: str) -> str:
    """Read the log until these words come."""
    assert run.stderr is not None
    seen: list[str] = []
    for line in run.stderr:
        seen.append(line)
        if words in line:
            break
    return "".join(seen)


def test_a_job_over_grpc_changes_a_repository(tmp_path: Path, clone: Path) -> None:
    with running_server(tmp_path) as server:
        server.wait_for_sessions()
        run = start(grpc_job(server, server.grpc), clone, "--output-format", "json")
        out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    told = json.loads(out)
    assert (told["status"], told["exitCode"], told["workflowId"]) == ("success", 0, "4711")
    assert told["result"].startswith("[scripted tour]")
    assert "TODO" in (clone / "isthmus-tour.md").read_text()
    assert "First I list the workspace" in err


def test_a_job_that_may_not_approve_leaves_the_session_to_the_next(
    tmp_path: Path, clone: Path
) -> None:
    with running_server(tmp_path) as server:
        server.wait_for_sessions()
        job = grpc_job(server, server.grpc, DUO_AUTO_APPROVE="false")
        first = start(job, clone)
        _, err = first.communicate(timeout=60)
        assert first.returncode == 0, err
        assert not (clone / "isthmus-tour.md").exists()
        second = start(job, clone, "--approval", "true")
        out, err = second.communicate(timeout=60)
        assert second.returncode == 0, err
        assert out.startswith("[scripted tour]")
    assert (clone / "isthmus-tour.md").exists()


def test_a_network_that_is_cut_for_five_seconds_ends_no_job(tmp_path: Path, clone: Path) -> None:
    with running_server(tmp_path, SLOW) as server:
        server.wait_for_sessions()
        with network(server.grpc) as wire:
            run = start(grpc_job(server, wire.port), clone)
            log = until(run, "Read README.md")
            wire.cut()
            time.sleep(5)
            wire.mend()
            out, err = run.communicate(timeout=90)
            assert run.returncode == 0, log + err
            assert wire.connections >= 2
    assert out.startswith("[scripted tour]")
    assert "TODO" in (clone / "isthmus-tour.md").read_text()
    assert (log + err).count("First I list the workspace") == 1


def test_a_server_that_is_gone_for_good_is_told_by_the_exit_code(
    tmp_path: Path, clone: Path
) -> None:
    with running_server(tmp_path, SLOW) as server:
        server.wait_for_sessions()
        job = grpc_job(server, server.grpc, DUO_WORKFLOW_OUTPUT_FORMAT="json")
        run = start(job, clone, "--patience", "3")
        until(run, "Read README.md")
        server.stop(signal.SIGKILL)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 75, err
    assert json.loads(out)["exitCode"] == 75
    assert "retry" in err
