"""HTTP actions of a session, carried out by the relay. Source: instance contract, section 3.5."""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from isthmus.adapters.outbound.client import open_client
from isthmus.app.foundation import SystemClock
from isthmus.contract.contract_pb2 import HttpResponse, RunHTTPRequest
from isthmus.core.accounts import FLOW_SCOPES, TokenKind
from isthmus.core.errors import ClientGone, Unauthenticated
from isthmus.core.events import ActionRelayed
from isthmus.edge.http.membership import INWARD, MEMBER, headers_of
from isthmus.settings import InstanceSettings, OutboundSettings
from tests.support.relay_stand import RelayStand, asking, open_relay, serving

WORKFLOWS = "/api/v4/ai/duo_workflows/workflows"


async def asked(relay: RelayStand, *requests: RunHTTPRequest, **options: Any) -> list[HttpResponse]:
    """What the platform gets for these requests in one turn of Alice's."""
    relay.host.script = asking(*requests)
    heard = await relay.run(**options)
    assert heard.code == 1000
    assert all("newCheckpoint" in frame for frame in heard.frames)
    return [answer.httpResponse for answer in relay.host.answers]


async def test_i7_38_the_relay_answers_by_itself_and_passes_refusals_on(relay: RelayStand) -> None:
    workflow_id = await relay.workflow()
    body = '{"status_event":"start"}'
    got, moved, again, missing = await asked(
        relay,
        RunHTTPRequest(method="GET", path=f"{WORKFLOWS}/{workflow_id}"),
        RunHTTPRequest(method="PATCH", path=f"{WORKFLOWS}/{workflow_id}", body=body),
        RunHTTPRequest(
            method="PATCH", path=f"{WORKFLOWS}/{workflow_id}", body='{"status_event":"retry it"}'
        ),
        RunHTTPRequest(method="GET", path="/api/v4/nowhere"),
    )
    assert (got.statusCode, got.error) == (200, "")
    assert json.loads(got.body)["id"] == int(workflow_id)
    assert "Content-Type" in got.headers
    assert "X-Request-Id" in got.headers
    assert moved.statusCode == 200
    assert (again.statusCode, again.error) == (400, "")
    assert "Unsupported status event" in again.body
    assert missing.statusCode == 404
    facts = relay.sink.of(ActionRelayed)
    assert [(f.method, f.status, f.error) for f in facts] == [
        ("GET", 200, ""),
        ("PATCH", 200, ""),
        ("PATCH", 400, ""),
        ("GET", 404, ""),
    ]


async def test_i7_40_requests_say_for_which_workflow_and_by_whom_they_are_made(
    relay: RelayStand,
) -> None:
    workflow_id = await relay.workflow()
    relay.host.script = asking(RunHTTPRequest(method="POST", path="/api/graphql?a=%20b", body="{}"))
    await relay.run(workflow_id=workflow_id, headers={"X-Forwarded-For": "10.0.0.9"})
    (scope,) = relay.inward.scopes
    headers = headers_of(scope)
    assert scope[INWARD] is True
    assert headers["x-gitlab-duo-workflow-id"] == workflow_id
    assert headers["user-agent"] == "Agent-Flow-via-GitLab-Workhorse"
    assert headers["content-type"] == "application/json"
    assert headers["x-forwarded-for"] == "10.0.0.9, 127.0.0.1"
    assert headers["host"] == f"127.0.0.1:{relay.port}"
    assert (scope["path"], scope["query_string"]) == ("/api/graphql", b"a=%20b")
    member = scope[MEMBER]
    assert member.user.id == relay.people.alice.user.id
    assert member.token.kind is TokenKind.FLOW
    assert member.token.scopes == FLOW_SCOPES
    assert member.through_relay


async def test_the_token_of_a_session_dies_with_it(relay: RelayStand) -> None:
    await asked(relay, RunHTTPRequest(method="GET", path="/api/v4/version"))
    token = headers_of(relay.inward.scopes[0])["authorization"].removeprefix("Bearer ")
    assert token != relay.people.alice.token
    with pytest.raises(Unauthenticated):
        await relay.instance.accounts.member(token)


async def test_a_token_of_exactly_a_sessions_scopes_is_used_as_it_is(relay: RelayStand) -> None:
    headers = await relay.people.token(relay.people.alice, TokenKind.FLOW, *FLOW_SCOPES)
    await asked(relay, RunHTTPRequest(method="GET", path="/api/v4/version"), headers=headers)
    assert headers_of(relay.inward.scopes[0])["authorization"] == headers["authorization"]
    token = headers["authorization"].removeprefix("Bearer ")
    assert await relay.instance.accounts.member(token)


TRICKS = (
    "/oauth/token",
    "/v1/proxy/anthropic/v1/messages",
    "/monitoring/ready",
    "//evil.test/api/v4/version",
    "/api/../v1/models",
    "/api/%2e%2e/v1/models",
    "/api/%252e%252e/v1/models",
    "/api/v4/..%2f..%2fmonitoring/ready",
    "/api/v4/.",
    "/api/v4//version",
    "/api/v4/%5c..%5cversion",
    "/api/v4/%00",
    "/api/v4/version#x",
    "/api/v4/ai/duo_workflows/ws",
    "/api/v4/ai/duo_workflows/ws/",
    "/api/v4/ai/duo_workflows/execute",
    "/api/v4/ai/duo_workflows/%77s",
    "http://127.0.0.1/api/v4/version",
    "@evil.test/api/v4/version",
    "/API/v4/version",
)


@pytest.mark.parametrize("path", TRICKS)
async def test_paths_that_lead_elsewhere_are_404(relay: RelayStand, path: str) -> None:
    (answer,) = await asked(relay, RunHTTPRequest(method="GET", path=path))
    assert (answer.statusCode, answer.error) == (404, "")


async def test_anothers_workflow_is_404_through_the_relay(relay: RelayStand) -> None:
    foreign = await relay.workflow(relay.people.bob)
    answers = await asked(
        relay,
        RunHTTPRequest(method="GET", path=f"{WORKFLOWS}/{foreign}"),
        RunHTTPRequest(
            method="PATCH", path=f"{WORKFLOWS}/{foreign}", body='{"status_event":"drop"}'
        ),
    )
    assert [answer.statusCode for answer in answers] == [404, 404]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("TRACE", "/api/v4/version"),
        ("", "/api/v4/version"),
        ("GET\r\nX: y", "/api/v4/version"),
        ("GET", ""),
        ("GET", "/api/v4/a b"),
        ("GET", "/api/v4/version\r\nX-Evil: 1"),
        ("GET", "/api/v4/ä"),
        ("GET", "/api/v4/" + "a" * 9000),
    ],
)
async def test_what_is_no_request_at_all_ends_the_session(
    relay: RelayStand, method: str, path: str
) -> None:
    relay.host.script = asking(RunHTTPRequest(method=method, path=path))
    heard = await relay.run()
    assert heard.code == 4400
    assert heard.reason.startswith("runHTTPRequest")
    await asyncio.wait_for(relay.host.turn.closed.wait(), 10)


async def test_i7_39_an_answer_over_the_limit_is_an_error_and_the_session_goes_on(
    relay: RelayStand,
) -> None:
    limit = 4 * 1024 * 1024 - 4096
    relay.inward.instead = sized
    fits, over, after = await asked(
        relay,
        *(RunHTTPRequest(method="GET", path=f"/api/{size}") for size in (limit, limit + 1, 10)),
    )
    assert (fits.statusCode, len(fits.body), fits.error) == (200, limit, "")
    assert over.error == f"response body exceeded size limit ({limit} bytes)"
    assert (over.statusCode, over.body) == (0, "")
    assert after.body == "x" * 10
    assert relay.sink.of(ActionRelayed)[1].error == "size_limit_exceeded"


async def sized(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers that are as long as their path says."""
    size = int(scope["path"].rpartition("/")[2])
    reply = Response(b"x" * size, headers={"x-next-page": "2", "link": "a"})
    reply.raw_headers.append((b"link", b"b"))
    with suppress(ClientGone):
        await reply(scope, receive, send)


async def test_header_names_are_canonical_and_repeated_values_joined(relay: RelayStand) -> None:
    relay.inward.instead = sized
    (answer,) = await asked(relay, RunHTTPRequest(method="GET", path="/api/1"))
    assert dict(answer.headers) == {
        "X-Next-Page": "2",
        "Link": "a, b",
        "Content-Length": "1",
    }


async def test_an_answer_that_does_not_come_is_an_error(tmp_path: Path) -> None:
    async def silent(*_: object) -> None:
        await asyncio.Event().wait()

    async with open_relay(tmp_path, action_s=0.05) as relay:
        relay.inward.instead = silent
        (answer,) = await asked(relay, RunHTTPRequest(method="GET", path="/api/v4/version"))
        assert (answer.error, answer.statusCode) == ("request timed out", 0)
        assert relay.sink.of(ActionRelayed)[0].error == "timeout"


async def test_actions_at_another_instance_are_made_with_the_callers_own_token(
    tmp_path: Path,
) -> None:
    asked_for: list[tuple[str, dict[str, str]]] = []

    async def gitlab(scope: Scope, receive: Receive, send: Send) -> None:
        asked_for.append((scope["path"], headers_of(scope)))
        await JSONResponse({"id": 7}, headers={"X-Total": "1"})(scope, receive, send)

    clock = SystemClock()
    async with (
        open_client(OutboundSettings(), clock) as outbound,
        serving(gitlab, InstanceSettings(enabled=False)) as other,
    ):
        url = f"http://127.0.0.1:{other.servers[0].sockets[0].getsockname()[1]}"

        def abroad(_: object, services: Any) -> Any:
            return replace(services, outbound=outbound, clock=clock)

        async with open_relay(tmp_path, instance={"gitlab_url": url}, change=abroad) as relay:
            relay.host.script = asking(
                RunHTTPRequest(method="GET", path="/api/v4/projects/7?x=1"),
                RunHTTPRequest(method="GET", path="/oauth/token"),
            )
            # The record is kept there: we need not know it.
            heard = await relay.run(workflow_id="424242")
            assert heard.code == 1000
            got, refused = [answer.httpResponse for answer in relay.host.answers]
            assert (got.statusCode, got.body, got.headers["X-Total"]) == (200, '{"id":7}', "1")
            assert refused.statusCode == 404
            ((path, headers),) = asked_for
            assert path == "/api/v4/projects/7"
            assert headers["authorization"] == f"Bearer {relay.people.alice.token}"
            assert headers["x-gitlab-duo-workflow-id"] == "424242"
            assert headers["host"] == url.removeprefix("http://")
