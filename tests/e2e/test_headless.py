"""The headless executor as a job starts it: from variables alone, on a network that breaks."""

import asyncio
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from isthmus.contract.contract_pb2 import ClientEvent
from isthmus.executor.frames import decoded, encoded
from isthmus.executor.socket import relay_url
from isthmus.executor.task import Task
from tests.e2e.test_kills import House, housed
from tests.support.cut import network
from tests.support.postgres import fresh_schema
from tests.support.process import KEPT, PROGRAM, RunningServer, running_server
from tests.support.servers import Server

SLOW = {"ISTHMUS_PROVIDERS__SCRIPTED__PAUSE_MS": "700"}
WORKFLOWS = "/api/v4/ai/duo_workflows/workflows"
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


def relay_job(server: RunningServer, port: int, **more: str) -> dict[str, str]:
    """The variables of a job that speaks to the instance, for a session that is registered."""
    token = server.command("tokens", "create", "--name", "job").stdout.strip()
    with httpx.Client(headers={"private-token": token}) as http:
        asked = {"goal": "Look around", "workflow_definition": "chat", "project_id": "my/app"}
        made = http.post(f"{server.url}{WORKFLOWS}", json=asked)
    assert made.status_code == 201, made.text
    plain = {name: os.environ[name] for name in KEPT if name in os.environ}
    return plain | {
        "DUO_WORKFLOW_WORKFLOW_ID": str(made.json()["id"]),
        "DUO_WORKFLOW_GOAL": "Look around",
        "DUO_WORKFLOW_DEFINITION": "chat",
        "GITLAB_BASE_URL": f"http://127.0.0.1:{port}",
        "GITLAB_PROJECT_PATH": "my/app",
        "GITLAB_OAUTH_TOKEN": token,
        "AGENT_PLATFORM_FEATURE_SETTING_NAME": "duo_agent_platform",
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


def test_a_job_ends_with_the_budget_of_its_session(tmp_path: Path, clone: Path) -> None:
    with running_server(tmp_path, {"ISTHMUS_PLATFORM__BUDGETS__TOKENS": "50"}) as server:
        server.wait_for_sessions()
        run = start(grpc_job(server, server.grpc), clone, "--output-format", "json")
        out, err = run.communicate(timeout=60)
    assert run.returncode != 0
    assert "budget of 50 tokens (`platform.budgets.tokens`)" in out + err


def test_a_job_over_the_relay_changes_a_repository(tmp_path: Path, clone: Path) -> None:
    with running_server(tmp_path) as server:
        server.wait_for_sessions()
        job = relay_job(server, server.http)
        run = start(job, clone, "--connection-type", "websocket")
        out, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
    assert out.startswith("[scripted tour]")
    assert "TODO" in (clone / "isthmus-tour.md").read_text()
    assert job["GITLAB_OAUTH_TOKEN"] not in out + err


def test_the_servers_own_runner_carries_a_workflow_out(tmp_path: Path, clone: Path) -> None:
    settings = {"ISTHMUS_RUNNERS__SUBPROCESS__DIRECTORY": str(clone)}
    with running_server(tmp_path, settings) as server:
        server.wait_for_sessions()
        token = server.command("tokens", "create", "--name", "me").stdout.strip()
        with httpx.Client(base_url=server.url, headers={"private-token": token}) as http:
            asked = {"goal": "Look around", "workflow_definition": "chat", "project_id": "my/app"}
            made = http.post(WORKFLOWS, json=asked | {"start_workflow": True})
        assert made.status_code == 201, made.text
        process = Path(f"/proc/{made.json()['workload']['id']}/stat")
        until_s = time.monotonic() + 60
        while process.exists() and ") Z " not in process.read_text():
            assert time.monotonic() < until_s, _job_log(tmp_path)
            time.sleep(0.1)
        assert "TODO" in (clone / "isthmus-tour.md").read_text(), _job_log(tmp_path)
        assert "[scripted tour]" in _job_log(tmp_path)


def _job_log(folder: Path) -> str:
    return "\n".join(path.read_text() for path in folder.glob("var/jobs/*/log.txt"))


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


@pytest.mark.parametrize("kind", ["grpc", "relay"])
@pytest.mark.parametrize("loss", ["cut", "stranded"])
def test_a_network_that_is_lost_ends_no_job(
    tmp_path: Path, clone: Path, kind: str, loss: str
) -> None:
    """Cut for five seconds; or lost to the client alone, and the server hears nothing of it."""
    with running_server(tmp_path, SLOW) as server:
        server.wait_for_sessions()
        job = grpc_job if kind == "grpc" else relay_job
        with network(server.grpc if kind == "grpc" else server.http) as wire:
            run = start(job(server, wire.port), clone)
            log = until(run, "Read README.md")
            if loss == "stranded":
                wire.strand()
            else:
                wire.cut()
                time.sleep(5)
                wire.mend()
            out, err = run.communicate(timeout=90)
            assert run.returncode == 0, log + err
            assert wire.connections >= 2
    assert out.startswith("[scripted tour]")
    assert "TODO" in (clone / "isthmus-tour.md").read_text()
    assert (log + err).count("First I list the workspace") == 1


async def test_a_network_that_is_lost_may_lead_to_another_server(
    postgres: Server, tmp_path: Path, clone: Path
) -> None:
    """The one before lives, holds the session, and hears nothing: nobody waits for it."""

    def elsewhere(house: House) -> tuple[int, str]:
        first, second = house.servers
        with network(first.grpc) as wire:
            run = start(grpc_job(first, wire.port), clone, "--patience", "8")
            until(run, "Read README.md")
            wire.lead_to(second.grpc)
            wire.strand()
            _, err = run.communicate(timeout=90)
            assert first.process.poll() is None
        return run.returncode, err

    async with fresh_schema(postgres) as database:
        with housed(database, tmp_path, SLOW) as house:
            code, err = await asyncio.to_thread(elsewhere, house)
    assert code == 0, err
    assert "TODO" in (clone / "isthmus-tour.md").read_text()


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


def test_i7_64_a_client_that_leaves_in_the_middle_of_an_action_leaves_a_session_to_resume(
    tmp_path: Path, clone: Path
) -> None:
    with running_server(tmp_path) as server:
        server.wait_for_sessions()
        job = relay_job(server, server.http)
        url = relay_url(server.url, {"workflow_id": job["DUO_WORKFLOW_WORKFLOW_ID"]})
        headers = {"Authorization": f"Bearer {job['GITLAB_OAUTH_TOKEN']}"}
        task = Task(job["DUO_WORKFLOW_WORKFLOW_ID"], "Look around")
        with connect(url, additional_headers=headers, proxy=None) as socket:
            socket.send(encoded(ClientEvent(startRequest=task.first())))
            while decoded(socket.recv(30)).HasField("newCheckpoint"):
                pass
        run = start(job | {"DUO_WORKFLOW_GOAL": ""}, clone)
        _, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
    assert "TODO" in (clone / "isthmus-tour.md").read_text()
