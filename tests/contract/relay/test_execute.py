"""A session without a socket: lines of JSON. Source: instance contract, section 3.10."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from isthmus.contract.contract_pb2 import Action, RunHTTPRequest, RunShellCommand
from isthmus.core import errors
from tests.support.relay_stand import RelayStand, Turn, notice, open_relay

PATH = "/api/v4/ai/duo_workflows/execute"


async def execute(relay: RelayStand, body: object, **headers: str) -> httpx.Response:
    """The whole answer."""
    async with httpx.AsyncClient(base_url=relay.url, trust_env=False) as client:
        known = {**relay.people.alice.bearer, **headers}
        return await client.post(PATH, content=_text(body), headers=known)


def _text(body: object) -> str:
    return body if isinstance(body, str) else json.dumps(body)


def notices(reply: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in reply.text.splitlines() if line]


async def test_each_notice_is_a_line(relay: RelayStand) -> None:
    reply = await execute(relay, {"workflowID": await relay.workflow(), "goal": "hi"})
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("application/x-ndjson")
    assert [line["status"] for line in notices(reply)] == ["RUNNING", "INPUT_REQUIRED"]
    assert relay.host.turn.start.goal == "hi"


async def test_actions_that_need_a_client_are_refused_and_ours_carried_out(
    relay: RelayStand,
) -> None:
    async def script(turn: Turn) -> AsyncIterator[Action]:
        yield Action(requestID="1", runShellCommand=RunShellCommand(command="ls"))
        refused = await turn.answer()
        yield Action(
            requestID="2", runHTTPRequest=RunHTTPRequest(method="GET", path="/api/v4/user")
        )
        done = await turn.answer()
        yield notice("FINISHED", refused.plainTextResponse.error, str(done.httpResponse.statusCode))

    relay.host.script = script
    reply = await execute(relay, {"workflowID": await relay.workflow()})
    log = json.loads(notices(reply)[-1]["checkpoint"])["channel_values"]["ui_chat_log"]
    texts = [entry["content"] for entry in log]
    assert texts == ["action cannot be executed by this client", "200"]


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (errors.Invalid("Unknown flow"), 400),
        (errors.InsufficientCredits("none"), 403),
        (errors.Unavailable("down"), 502),
        (errors.Forbidden("no"), 500),
    ],
)
async def test_failures_before_the_first_line_have_a_status(
    relay: RelayStand, failure: errors.Failure, status: int
) -> None:
    async def script(_: Turn) -> AsyncIterator[Action]:
        raise failure
        yield Action()

    relay.host.script = script
    reply = await execute(relay, {"workflowID": await relay.workflow()})
    assert reply.status_code == status
    assert reply.json()["message"].startswith(f"{status} ")


async def test_a_locked_workflow_is_409(relay: RelayStand) -> None:
    workflow_id = await relay.workflow()
    relay.instance.locks.take(workflow_id)
    reply = await execute(relay, {"workflowID": workflow_id})
    assert (reply.status_code, relay.host.turns) == (409, [])


@pytest.mark.parametrize("body", ["", "[]", "{", '{"goal": 1}'])
async def test_a_body_that_is_no_start_request_is_400(relay: RelayStand, body: str) -> None:
    assert (await execute(relay, body)).status_code == 400


async def test_it_is_closed_to_strangers_and_to_others(relay: RelayStand) -> None:
    foreign = await relay.workflow(relay.people.bob)
    assert (await execute(relay, {"workflowID": foreign})).status_code == 400
    reply = await execute(relay, {"workflowID": foreign}, authorization="Bearer no")
    assert reply.status_code == 401
    assert relay.host.turns == []


async def test_a_silent_session_is_kept_alive_and_a_client_that_leaves_ends_it(
    tmp_path: Path,
) -> None:
    async def script(_: Turn) -> AsyncIterator[Action]:
        yield notice("RUNNING", "busy")
        await asyncio.Event().wait()

    async with open_relay(tmp_path, ping_s=0.05, pong_s=0.1) as relay:
        relay.host.script = script
        body = json.dumps({"workflowID": await relay.workflow()})
        bearer = relay.people.alice.bearer
        async with (
            httpx.AsyncClient(base_url=relay.url, trust_env=False) as client,
            client.stream("POST", PATH, content=body, headers=bearer) as reply,
        ):
            lines = reply.aiter_lines()
            assert json.loads(await anext(lines))["status"] == "RUNNING"
            assert [await anext(lines) for _ in range(3)] == ["", "", ""]
        await asyncio.wait_for(relay.host.turn.closed.wait(), 10)


async def test_a_listener_counts_as_a_socket(tmp_path: Path) -> None:
    async with open_relay(tmp_path, max_sockets=1) as relay:
        body = {"workflowID": await relay.workflow(), "goal": "hi"}
        async with relay.connect():
            assert (await execute(relay, body)).status_code == 502
            assert not relay.host.turns
        assert (await execute(relay, body)).status_code == 200
