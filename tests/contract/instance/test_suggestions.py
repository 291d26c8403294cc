"""Code and answers through the instance: the gateway's use cases, on behalf of its users."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from isthmus.auth.authenticate import Authenticator, AuthPolicy
from isthmus.core.accounts import TokenKind
from isthmus.core.events import SuggestionJudged
from isthmus.edge.http.app import create
from isthmus.gateway.invoke import Invoke
from isthmus.instance.broker import caller_of
from isthmus.routing.models import Models
from isthmus.settings import GatewaySettings, ModelsSettings, OutboundSettings
from tests.support.http_app import SERVICE, OneKey, Stand
from tests.support.instance_stand import IDENTITY, URL, InstanceStand
from tests.support.sink import MemorySink
from tests.support.suggest_stand import CATALOGUE, PROMPTS, Scripted, suggest_of

PATH = "/api/v4/code_suggestions/completions"
DIRECT = "/api/v4/code_suggestions/direct_access"
CHAT = "/api/v4/chat/completions"
FILE = {"file_name": "a.py", "content_above_cursor": "x = ", "content_below_cursor": "\n"}


@asynccontextmanager
async def serving(
    stand: InstanceStand, model: Scripted, *, per_minute: int = 0
) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token, of an application with this one model behind it."""
    gateway = Stand(clock=stand.clock)
    models = Models({model.name: model}, CATALOGUE, OutboundSettings(), gateway.sink, stand.clock)
    keys = Authenticator(OneKey(), AuthPolicy(SERVICE), gateway.sink, stand.clock)
    settings = GatewaySettings(suggestions_per_minute=per_minute)
    services = replace(
        stand.services,
        authenticator=keys,
        suggest=suggest_of(gateway, model, gateway=settings),
        invoke=Invoke(models, PROMPTS, gateway.sink, stand.clock, ModelsSettings()),
    )
    transport = httpx.ASGITransport(create(services), client=("127.0.0.1", 40_000))
    async with httpx.AsyncClient(transport=transport, base_url=URL) as http:
        yield http


def told(reply: httpx.Response) -> tuple[int, Any]:
    return reply.status_code, reply.json()


@pytest.mark.parametrize("scope", ["api", "ai_features"])
async def test_code_is_completed_for_a_user(stand: InstanceStand, scope: str) -> None:
    model = Scripted("anthropic", "42")
    headers = await stand.token(stand.alice, TokenKind.OAUTH, scope)
    async with serving(stand, model) as http:
        reply = await http.post(PATH, headers=headers, json={"current_file": FILE, "odd": 1})
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["text"] == "42"
    assert reply.json()["model"]["lang"] == "python"
    assert "x-gitlab-error-origin" not in reply.headers


@pytest.mark.parametrize(
    "body",
    [
        {"intent": "generation"},
        {"generation_type": "comment"},
        {"user_instruction": "Add one"},
        {"intent": "generation", "user_instruction": "Add one"},
    ],
)
async def test_code_is_generated_when_that_is_asked_for(
    stand: InstanceStand, body: Mapping[str, object]
) -> None:
    model = Scripted("anthropic", "x + 1")
    near = {"type": "snippet", "name": "b.py", "content": "NEARBY = 1"}
    async with serving(stand, model) as http:
        asked = {"current_file": FILE, "context": [near], **body}
        reply = await http.post(PATH, headers=stand.alice.bearer, json=asked)
    assert reply.json()["choices"][0]["text"] == "x + 1"
    assert "NEARBY = 1" in model.sent()
    assert ("Add one" in model.sent()) == ("user_instruction" in body)


async def test_code_comes_as_it_is_written(stand: InstanceStand) -> None:
    async with serving(stand, Scripted("anthropic", "4", "2")) as http:
        asked = {"current_file": FILE, "stream": True}
        reply = await http.post(PATH, headers=stand.alice.bearer, json=asked)
    assert (reply.status_code, reply.text) == (200, "42")
    assert reply.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "current_file is missing"),
        ({"current_file": {"file_name": "a.py"}}, "content_above_cursor is missing"),
        ({"current_file": FILE | {"file_name": "a" * 256}}, "file_name does not have a valid"),
        ({"current_file": FILE | {"content_above_cursor": "a" * 400_001}}, "valid value"),
        ({"current_file": FILE, "intent": "sing"}, "intent does not have a valid value"),
        ({"current_file": FILE, "context": [{"type": "x"}]}, "context"),
    ],
)
async def test_faults_are_named(
    stand: InstanceStand, body: Mapping[str, object], error: str
) -> None:
    model = Scripted("anthropic", "42")
    async with serving(stand, model) as http:
        reply = await http.post(PATH, headers=stand.alice.bearer, json=body)
    assert reply.status_code == 400
    assert error in reply.json()["error"]
    assert not model.calls


async def test_refusals_say_that_they_are_the_instances(stand: InstanceStand) -> None:
    few = await stand.token(stand.alice, TokenKind.PERSONAL, "read_api", "ai_workflows")
    async with serving(stand, Scripted("anthropic", "42")) as http:
        for headers, status in (({}, 401), (few, 403)):
            reply = await http.post(PATH, headers=headers, json={"current_file": FILE})
            assert reply.status_code == status
            assert reply.headers["x-gitlab-error-origin"] == "monolith"
        assert (await http.get(PATH, headers=stand.alice.bearer)).status_code == 405
        elsewhere = await http.post(DIRECT)
        assert "x-gitlab-error-origin" not in elsewhere.headers


async def test_one_limit_of_a_user_holds_on_both_ways(stand: InstanceStand) -> None:
    body = {"current_file": FILE}
    async with serving(stand, Scripted("anthropic", "42"), per_minute=3) as http:
        access = (await http.post(DIRECT, headers=stand.alice.bearer)).json()
        headers = access["headers"] | {"authorization": f"Bearer {access['token']}"}

        async def direct() -> int:
            straight = body | {"prompt_version": 1}
            reply = await http.post("/v2/code/completions", headers=headers, json=straight)
            return reply.status_code

        async def relayed(who: Mapping[str, str]) -> httpx.Response:
            return await http.post(PATH, headers=who, json=body)

        assert await direct() == 200
        assert (await relayed(stand.alice.bearer)).status_code == 200
        assert await direct() == 200
        refused = await relayed(stand.alice.bearer)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert await direct() == 429
        assert (await relayed(stand.bob.bearer)).status_code == 200
        stand.clock.advance(60.0)
        assert await direct() == 200


async def test_a_question_is_answered_where_a_flag_says_so(stand: InstanceStand) -> None:
    model = Scripted("anthropic", 'It is "a".')
    body: dict[str, object] = {
        "content": "What is it?",
        "resource_type": "issue",
        "current_file": {"file_name": "a.py", "selected_text": "SELECTED = 1"},
        "additional_context": [{"category": "file", "id": "b", "content": "NEARBY"}],
    }
    async with serving(stand, model) as http:
        assert (await http.post(CHAT, headers=stand.alice.bearer, json=body)).status_code == 404
        await stand.flag("access_rest_chat", users=frozenset({stand.alice.user.id}))
        assert (await http.post(CHAT, headers=stand.bob.bearer, json=body)).status_code == 404
        assert not model.calls
        answered = await http.post(CHAT, headers=stand.alice.bearer, json=body)
        assert told(answered) == (201, 'It is "a".')
        for text in ("What is it?", "SELECTED = 1", "NEARBY"):
            assert text in model.sent()
        for content in ("", "a" * 1_001, None):
            wrong = await http.post(CHAT, headers=stand.alice.bearer, json={"content": content})
            assert wrong.status_code == 400
            assert wrong.json()["error"].startswith("content ")


def test_a_member_is_one_caller_to_the_gateway(stand: InstanceStand) -> None:
    caller = caller_of(stand.alice.member, IDENTITY)
    assert caller.global_user_id == stand.alice.user.global_id
    assert not caller.self_issued


async def test_members_judge_suggestions(stand: InstanceStand) -> None:
    async with serving(stand, Scripted("anthropic", "42")) as http:
        for body in ({}, {"stream": True}):
            reply = await http.post(
                PATH, headers=stand.alice.bearer, json={"current_file": FILE, **body}
            )
            path = f"/api/v4/isthmus/suggestions/{reply.headers['x-suggestion-id']}/accepted"
            assert (await http.post(path)).status_code == 401
            assert (await http.post(path, headers=stand.alice.bearer)).status_code == 204
        odd = await http.post(path.replace("accepted", "praised"), headers=stand.alice.bearer)
    assert odd.status_code == 404
    sink = stand.services.telemetry
    assert isinstance(sink, MemorySink)
    facts = sink.of(SuggestionJudged)
    assert len({fact.call_id for fact in facts}) == 2
    user = caller_of(stand.alice.member, IDENTITY).who.user
    assert {(fact.language, fact.who.user) for fact in facts} == {("python", user)}
