"""Three GitLab instances on one server: each with its own keys, models, region and limits."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from grpc import aio

from isthmus.contract.contract_pb2 import (
    ClientEvent,
    GenerateTokenRequest,
    StartWorkflowRequest,
)
from isthmus.contract.contract_pb2_grpc import DuoWorkflowStub
from tests.support.instances import GATEWAY, PLATFORM, GitLab, gitlab
from tests.support.process import RunningServer, running_server
from tests.support.scripted_upstream import KEY, Upstream, scripted_upstream

SONNET, HAIKU = "claude_sonnet_4_6", "claude_haiku_4_5_20251001"
CHAT = "duo_agent_platform_agentic_chat"
COMMIT = "/v1/prompts/generate_commit_message"
LIMIT_S = 60.0
MODEL_HEADER = "x-gitlab-agent-platform-model-metadata"


@dataclass
class House:
    """The server, who may call it, a stranger, and where models are asked."""

    server: RunningServer
    acme: GitLab
    globex: GitLab
    initech: GitLab
    stranger: GitLab
    eu: Upstream
    us: Upstream

    def post(self, path: str, headers: dict[str, str], body: object = None) -> httpx.Response:
        return httpx.post(self.server.url + path, headers=headers, json=body, timeout=LIMIT_S)

    def commit(self, headers: dict[str, str], model: str = "") -> httpx.Response:
        body: dict[str, object] = {"inputs": {"diff": "+ a"}}
        if model:
            body["model_metadata"] = {"provider": "gitlab", "identifier": model, "name": model}
        return self.post(COMMIT, headers, body)

    def asked(self) -> tuple[set[str], set[str]]:
        """Models that were asked for in the EU and in the US since the last time."""
        found = {one.model for one in self.eu.asked}, {one.model for one in self.us.asked}
        self.eu.asked.clear()
        self.us.asked.clear()
        return found


def configuration(acme: GitLab, globex: GitLab, initech: GitLab, eu: int, us: int) -> str:
    def place(model: str, port: int, region: str) -> dict[str, object]:
        url = f"http://127.0.0.1:{port}"
        return {"model": model, "base_url": url, "api_key": KEY, "region": region}

    return yaml.safe_dump(
        {
            "routing": {
                "deployments": {
                    "sonnet-eu": place(SONNET, eu, "eu-west-1"),
                    "sonnet-us": place(SONNET, us, "us-east-1"),
                    "haiku-eu": place(HAIKU, eu, "eu-west-1"),
                    "haiku-us": place(HAIKU, us, "us-east-1"),
                }
            },
            "models": {"defaults": {"generate_commit_message": [SONNET], CHAT: [SONNET]}},
            "instances": {
                "acme": {
                    "url": acme.url,
                    "region": "eu*",
                    "limits": [{"name": "few", "amount": 3, "window": "hour"}],
                },
                "globex": {
                    "url": globex.url,
                    "realm": "self-managed",
                    "models": {
                        "deny": [SONNET],
                        "defaults": {"generate_commit_message": [HAIKU], CHAT: [HAIKU]},
                    },
                },
                "initech": {
                    "url": initech.url,
                    "models": {"allow": [SONNET]},
                    "region": ["us-east-1"],
                    "limits": [{"name": "few", "amount": 2, "window": "hour"}],
                },
            },
        }
    )


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        names = ("acme", "globex", "initech", "stranger")
        acme, globex, initech, stranger = (stack.enter_context(gitlab(name)) for name in names)
        eu, us = (stack.enter_context(scripted_upstream({})) for _ in range(2))
        text = configuration(acme, globex, initech, eu.port, us.port)
        (tmp_path / "isthmus.yml").write_text(text, encoding="utf-8")
        opened = running_server(tmp_path, arguments=("--config", "isthmus.yml"))
        server = stack.enter_context(opened)
        yield House(server, acme, globex, initech, stranger, eu, us)


def test_each_has_its_models_its_region_and_its_limits(house: House) -> None:
    first = [house.commit(house.acme.headers()) for _ in range(3)]
    assert [reply.status_code for reply in first] == [200] * 3, first[0].text
    assert house.asked() == ({"claude-sonnet-4-6"}, set())
    refused = house.commit(house.acme.headers())
    assert (refused.status_code, refused.json()["rule"]) == (429, "acme.few")

    second = [house.commit(house.initech.headers()) for _ in range(2)]
    assert [reply.status_code for reply in second] == [200] * 2, second[0].text
    assert house.asked() == (set(), {"claude-sonnet-4-6"})
    refused = house.commit(house.initech.headers())
    assert (refused.status_code, refused.json()["rule"]) == (429, "initech.few")

    third = [house.commit(house.globex.headers()) for _ in range(8)]
    assert [reply.status_code for reply in third] == [200] * 8, third[0].text
    eu, us = house.asked()
    assert eu | us == {"claude-haiku-4-5-20251001"}


def test_a_model_that_is_not_for_an_instance_is_refused_by_name(house: House) -> None:
    denied = house.commit(house.globex.headers(), SONNET)
    said = f"The model `{SONNET}` is not for the instance `globex`."
    assert (denied.status_code, denied.json()) == (403, {"detail": said})
    denied = house.commit(house.initech.headers(), HAIKU)
    said = f"The model `{HAIKU}` is not for the instance `initech`."
    assert (denied.status_code, denied.json()) == (403, {"detail": said})
    body = {"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": "hi"}]}
    named = {"x-gitlab-unit-primitive": "generate_commit_message"}
    path = "/v1/proxy/anthropic/v1/messages"
    denied = house.post(path, house.globex.headers() | named, body | {"max_tokens": 9})
    said = "The model `claude-sonnet-4-6` is not for the instance `globex`."
    assert (denied.status_code, denied.json()["detail"]) == (403, said)
    assert house.asked() == (set(), set())
    allowed = house.post(path, house.acme.headers() | named, body | {"max_tokens": 9})
    assert allowed.status_code == 200, allowed.text
    assert house.asked() == ({"claude-sonnet-4-6"}, set())


def test_nobody_speaks_for_another(house: House) -> None:
    acme, globex = house.acme, house.globex
    forged = {
        "another key": globex.token(iss=acme.url, sub="acme", gitlab_instance_id="acme"),
        "a stranger": house.stranger.token(),
        "for a stranger": globex.token(iss=house.stranger.url),
        "no issuer": globex.token(iss=None),
        "as we": acme.token(iss=GATEWAY, sub="user-1"),
        "another realm": globex.token(gitlab_realm="saas"),
    }
    for name, token in forged.items():
        for asking in (acme, globex):
            realm = "saas" if name == "another realm" else "self-managed"
            reply = house.commit(asking.headers(token, x_gitlab_realm=realm))
            assert reply.status_code == 401, (name, reply.text)
    reply = house.commit(globex.headers(x_gitlab_instance_id="acme"))
    assert reply.json() == {"error": "Header mismatch 'X-Gitlab-Instance-Id'"}
    assert house.asked() == (set(), set())


def test_a_users_token_is_of_the_instance_it_was_made_for(house: House) -> None:
    other = house.acme.token(isthmus_instance="globex")
    made = house.post("/v1/code/user_access_token", house.acme.headers(other))
    assert made.status_code == 200, made.text
    headers = house.acme.headers(made.json()["token"])
    file = {
        "file_name": "a.py",
        "content_above_cursor": "def add(a, b):\n    ",
        "content_below_cursor": "\n",
    }
    body = {"prompt_version": 1, "current_file": file}
    replies = [house.post("/v2/completions", headers, body) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429], replies[0].text
    assert replies[-1].json()["rule"] == "acme.few"
    eu, us = house.asked()
    assert (eu, us) == ({"claude-haiku-4-5-20251001"}, set())


async def session(
    house: House, headers: dict[str, str], workflow_id: str = "7", *, silent: bool = False
) -> tuple[grpc.StatusCode, str, str]:
    """One turn over gRPC: how the stream ended, and the last status that it told.

    Who expects a refusal of the headers stays `silent`: grpc answers INTERNAL where the first
    message crosses the refusal.
    """
    start = StartWorkflowRequest(
        workflowID=workflow_id, goal="hi", workflowDefinition="chat", clientVersion="1"
    )
    last = ""
    async with aio.insecure_channel(f"127.0.0.1:{house.server.grpc}") as channel:
        stub: Any = DuoWorkflowStub(channel)
        call: Any = stub.ExecuteWorkflow(metadata=tuple(headers.items()))
        try:
            async with asyncio.timeout(LIMIT_S):
                if not silent:
                    await call.write(ClientEvent(startRequest=start))
                while (action := await call.read()) is not aio.EOF:
                    last = action.newCheckpoint.status or last
        except aio.AioRpcError as error:
            return error.code(), error.details() or "", last
        return await call.code(), "", last


async def test_sessions_are_apart_too(house: House) -> None:
    await asyncio.to_thread(house.server.wait_for_sessions)

    def headers(one: GitLab, **more: str) -> dict[str, str]:
        return one.headers(one.token(PLATFORM), **more)

    for one in (house.acme, house.globex, house.initech):
        code, text, last = await session(house, headers(one))
        assert (code, last) == (grpc.StatusCode.OK, "INPUT_REQUIRED"), (one.name, text)
        eu, us = house.asked()
        if one is house.acme:
            assert (eu, us) == ({"claude-sonnet-4-6"}, set())
        elif one is house.globex:
            assert eu | us == {"claude-haiku-4-5-20251001"}
        else:
            assert (eu, us) == (set(), {"claude-sonnet-4-6"})

    wanted = json.dumps({"provider": "gitlab", "identifier": SONNET, "name": SONNET})
    asking = headers(house.globex) | {MODEL_HEADER: wanted}
    code, text, _ = await session(house, asking, "8")
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert f"The model `{SONNET}` is not for the instance `globex`." in text

    forged = house.globex.token(PLATFORM, iss=house.acme.url)
    code, text, _ = await session(house, house.globex.headers(forged), "9", silent=True)
    assert (code, text) == (grpc.StatusCode.UNAUTHENTICATED, "Forbidden by auth provider")

    async with aio.insecure_channel(f"127.0.0.1:{house.server.grpc}") as channel:
        stub: Any = DuoWorkflowStub(channel)
        request = GenerateTokenRequest(workflowDefinition="chat")
        made = await stub.GenerateToken(request, metadata=tuple(headers(house.globex).items()))
    code, text, _ = await session(house, house.globex.headers(made.token), "10")
    assert code is grpc.StatusCode.OK, text
    eu, us = house.asked()
    assert eu | us == {"claude-haiku-4-5-20251001"}
