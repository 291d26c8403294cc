"""The proxy before a replay of Vertex AI; the routes of first clients, credits, mock mode."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import pytest

from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.providers import vertex
from isthmus.auth.authenticate import AuthPolicy
from isthmus.core.errors import (
    InsufficientCredits,
    NotEntitled,
    UpstreamFailed,
    UpstreamUnreachable,
)
from isthmus.core.events import FeatureUsed, ModelCalled
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import Use
from isthmus.core.messages import Usage
from isthmus.edge.http.app import create
from isthmus.gateway.forward import USE
from isthmus.settings import GatewaySettings, OutboundSettings, ProvidersSettings
from tests.contract.http.test_proxy_streams import REQUEST, serving
from tests.contract.outbound.rawserver import RealClock
from tests.support import google
from tests.support.http_app import SERVICE, Stand, bearer
from tests.support.replay import KEY, Replay, replaying, wire

UP = "ai_gateway_model_provider_proxy"
NAMED = {"x-gitlab-unit-primitive": UP, "content-type": "application/json"}
GOOGLE = f"{google.THEIRS}/publishers/google/models"
ANTHROPIC = f"{google.THEIRS}/publishers/anthropic/models"
GENERATE = f"{GOOGLE}/gemini-2.5-flash:generateContent"
STREAM = f"{GOOGLE}/gemini-2.5-flash:streamGenerateContent"
CLAUDE = f"{ANTHROPIC}/claude-sonnet-4-5@20250929:streamRawPredict"
BODY = b'{ "contents":[ {"role":"user","parts":[{"text":"\\u00e9"}]}] }'
VERTEX = "/v1/proxy/vertex-ai"


class Credits:
    """A Quota that notes what it is asked, and refuses when told to."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.asked: list[Use] = []

    async def check(self, use: Use, caller: Caller, client: ClientInfo) -> None:
        assert caller.subject
        assert client.get("x-gitlab-unit-primitive") == UP
        self.asked.append(use)
        if self.failure is not None:
            raise self.failure


@pytest.fixture
async def replay() -> AsyncIterator[Replay]:
    async with replaying("vertex") as api:
        yield api


@asynccontextmanager
async def before(
    replay: Replay, stand: Stand, **changed: object
) -> AsyncIterator[httpx.AsyncClient]:
    own: dict[str, object] = {
        "project": google.PROJECT,
        "location": google.LOCATION,
        "endpoint": replay.base_url,
        "credentials": google.service_account(replay.token_url),
    }
    settings = ProvidersSettings.model_validate({"vertex": own | changed})
    clock = RealClock()
    async with open_client(OutboundSettings(), clock) as outbound:
        provider = vertex.build(settings, outbound, clock, OutboundSettings())
        # The deadline of a call is told by one clock and kept by the other.
        stand.clock.advance(clock.now_s() - stand.clock.now_s())
        stand.others = {"vertex": provider}
        transport = httpx.ASGITransport(create(stand.services()))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://gateway.test", headers=NAMED
        ) as http:
            yield http


async def post(
    replay: Replay,
    path: str,
    body: bytes = BODY,
    stand: Stand | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    async with before(replay, stand or Stand()) as http:
        return await http.post(path, content=body, headers=headers)


def told(reply: httpx.Response) -> tuple[int, object]:
    return reply.status_code, reply.json()


@pytest.mark.parametrize("root", [VERTEX, f"/ai{VERTEX}", "/internal/proxy/vertex-ai"])
async def test_h11_65_a_call_goes_to_the_servers_project_and_location(
    replay: Replay, root: str
) -> None:
    stand = Stand()
    reply = await post(replay, root + GENERATE, stand=stand)
    assert (reply.status_code, reply.content) == (200, wire("vertex", "text_plain").body)
    [asked] = replay.requests
    assert asked.path == GENERATE.replace(google.THEIRS, google.ROOT)
    assert asked.body == BODY
    [fact] = stand.sink.of(ModelCalled)
    assert (fact.model, fact.usage, fact.streaming) == (
        "gemini-2.5-flash",
        Usage(20, 20, reasoning_tokens=12),
        False,
    )


@pytest.mark.parametrize(
    ("path", "body", "case", "streaming", "usage"),
    [
        (f"{STREAM}?alt=sse", BODY, "text", True, Usage(1020, 40, 1000, reasoning_tokens=31)),
        (STREAM, BODY, "array_plain", True, Usage(20, 9)),
        (CLAUDE, b'{"stream":true}', "claude_text", True, Usage(1042, 9, 1000, 30)),
        (CLAUDE, b'{"stream":1,"model":"x"}', "claude_text", False, Usage(1042, 9, 1000, 30)),
        (CLAUDE, b"{}", "claude_plain", False, Usage(12, 9)),
        (f"{GOOGLE}/text-embedding-005:predict", BODY, "embeddings", False, Usage(10)),
    ],
)
async def test_what_comes_back_is_untouched_and_metered(
    replay: Replay, path: str, body: bytes, case: str, streaming: bool, usage: Usage
) -> None:
    stand = Stand()
    reply = await post(replay, VERTEX + path, body, stand)
    assert (reply.status_code, reply.content) == (200, wire("vertex", case).body)
    assert set(reply.headers) >= {"content-type", "x-request-id", "x-process-time"}
    [fact] = stand.sink.of(ModelCalled)
    assert (fact.usage, fact.streaming, fact.unit_primitive) == (usage, streaming, UP)


async def test_h11_60_the_unit_primitive_must_be_there_and_known(replay: Replay) -> None:
    for root in (VERTEX, "/internal/proxy/anthropic", "/internal/proxy/openai"):
        unknown = await post(replay, root + GENERATE, headers={"x-gitlab-unit-primitive": "zzz"})
        assert told(unknown) == (400, {"detail": "Unknown unit primitive header zzz"})


@pytest.mark.parametrize(
    "path",
    [
        f"{GENERATE}?alt=json",
        f"{GENERATE}?key=x",
        GENERATE.replace("generateContent", "countTokens"),
        GENERATE.replace("google", "mistralai"),
        GENERATE.replace("/v1/", "/v1beta1/"),
        GENERATE.replace("models/", "models/..%2F"),
        "/v1/projects",
        "/",
    ],
)
async def test_h11_61_only_listed_paths_are_forwarded(replay: Replay, path: str) -> None:
    assert told(await post(replay, VERTEX + path, b"?")) == (404, {"detail": "Not found"})
    assert not replay.requests


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        (GENERATE, b"?", "Invalid JSON"),
        (GENERATE, b"", "Invalid JSON"),
        (GENERATE, b"[]", "Invalid JSON"),
        (GENERATE, b'{"x":' + b"[" * 100_000, "Invalid JSON"),
        (GENERATE.replace("2.5-flash", "9-flash"), BODY, "Unsupported model"),
        (GENERATE.replace("gemini-2.5-flash", "gemini-2.5-flash@1"), BODY, "Unsupported model"),
    ],
)
async def test_h11_61_what_is_not_forwarded(
    replay: Replay, path: str, body: bytes, detail: str
) -> None:
    assert told(await post(replay, VERTEX + path, body)) == (400, {"detail": detail})
    assert not replay.requests


async def test_h11_62_only_listed_headers_reach_the_provider(replay: Replay) -> None:
    headers = {
        "authorization": "Bearer theirs",
        "x-goog-api-key": "theirs",
        "x-goog-user-project": "theirs",
        "anthropic-beta": "b1",
        "cookie": "a=b",
        "accept": "application/json",
    }
    assert (await post(replay, VERTEX + GENERATE, headers=headers)).status_code == 200
    [asked] = replay.requests
    assert set(asked.headers) == {
        "host",
        "content-length",
        "content-type",
        "accept-encoding",
        "authorization",
    }
    assert asked.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("case", ["rate_limited", "permission_denied", "prompt_too_long"])
async def test_h11_63_an_error_of_the_provider_is_passed_on(replay: Replay, case: str) -> None:
    replay.play(case)
    reply = await post(replay, f"{VERTEX}{STREAM}?alt=sse")
    recorded = wire("vertex", case)
    assert (reply.status_code, reply.content) == (recorded.status, recorded.body)


async def test_h11_64_the_proxy_may_be_kept_for_some() -> None:
    claims = {"gitlab_realm": "saas", "scopes": [UP], "gitlab_root_namespace_id": 2}
    headers = bearer(claims) | {"x-gitlab-realm": "saas"}
    for root in (VERTEX, "/internal/proxy/vertex-ai"):
        stand = Stand(policy=AuthPolicy(SERVICE), gateway=GatewaySettings(proxy_saas=("1",)))
        transport = httpx.ASGITransport(create(stand.services()))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as http:
            reply = await http.post(root + GENERATE, content=b"?", headers=headers)
        detail = "Proxy endpoints are not enabled for this namespace"
        assert told(reply) == (402, {"detail": detail})


async def test_a_credential_that_google_refuses_is_a_fault_of_the_server(replay: Replay) -> None:
    wrong = {
        "credentials": google.service_account("https://elsewhere.test/token"),
        "token_url": replay.token_url,
    }
    async with before(replay, Stand(), **wrong) as http:
        reply = await http.post(VERTEX + GENERATE, content=BODY)
    detail = "Google does not accept the credential (400, invalid_grant)."
    assert told(reply) == (500, {"detail": detail})
    assert not replay.requests


async def test_tokens_that_cannot_be_had_are_a_connection_that_failed(replay: Replay) -> None:
    async with before(replay, Stand(), token_url="http://127.0.0.1:1/token") as http:
        reply = await http.post(VERTEX + GENERATE, content=BODY)
    assert reply.status_code == 500
    assert set(reply.json()) == {"message"}


async def test_a_provider_without_a_credential_is_told_last() -> None:
    transport = httpx.ASGITransport(create(Stand().services()))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway.test", headers=NAMED
    ) as http:
        assert told(await http.post(VERTEX + "/v1/x", content=BODY)) == (
            404,
            {"detail": "Not found"},
        )
        assert (await http.post(VERTEX + GENERATE, content=b"?")).json() == {
            "detail": "Invalid JSON"
        }
        assert told(await http.post(VERTEX + GENERATE, content=BODY)) == (
            500,
            {"detail": "API key not found"},
        )


async def test_h11_61_paths_are_known_without_a_credential_too() -> None:
    stand = Stand()
    assert stand.upstream
    stand.upstream.configured = False
    wrong = await ask(stand, "/v1/proxy/anthropic/v1/complete")
    assert told(wrong) == (404, {"detail": "Not found"})
    keyless = await ask(stand, "/v1/proxy/anthropic/v1/messages")
    assert told(keyless) == (400, {"detail": "API key not found"})


async def ask(stand: Stand, path: str, body: bytes = b'{"model":"claude-test"}') -> httpx.Response:
    transport = httpx.ASGITransport(create(stand.services()))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway.test", headers=NAMED
    ) as http:
        return await http.post(path, content=body)


async def test_first_clients_find_every_provider_under_internal() -> None:
    stand = Stand()
    assert stand.upstream
    reply = await ask(stand, "/internal/proxy/anthropic/v1/messages?beta=true")
    assert told(reply) == (200, {"ok": True})
    assert stand.upstream.calls[0].path == "/v1/messages?beta=true"
    assert told(await ask(stand, "/internal/proxy/anthropic/v1/complete")) == (
        404,
        {"detail": "Not found"},
    )
    assert told(await ask(stand, "/internal/proxy/openai/v1/responses")) == (
        400,
        {"detail": "Unsupported model"},
    )
    assert told(await ask(stand, "/internal/proxy/mistral/v1/x")) == (404, {"detail": "Not Found"})


async def test_the_use_is_told_once_before_the_call() -> None:
    stand = Stand()
    await ask(stand, "/v1/proxy/anthropic/v1/messages")
    [used] = stand.sink.of(FeatureUsed)
    assert (used.unit_primitive, used.billed, used.feature) == (UP, USE, USE)
    assert used.client.get("x-gitlab-unit-primitive") == UP
    kinds = [type(fact) for fact in stand.sink.facts]
    assert kinds.index(FeatureUsed) < kinds.index(ModelCalled)
    refused = Stand()
    await ask(refused, "/v1/proxy/anthropic/v1/messages", b'{"model":"x"}')
    assert not refused.sink.of(FeatureUsed)


async def test_credits_are_asked_for_after_every_check_and_before_the_call() -> None:
    credits_ = Credits()
    stand = Stand(quota=credits_)
    for body in (b"?", b'{"model":"gpt-9"}'):
        assert (await ask(stand, "/v1/proxy/anthropic/v1/messages", body)).status_code == 400
    assert not credits_.asked
    assert told(await ask(stand, "/v1/proxy/anthropic/v1/messages")) == (200, {"ok": True})
    assert credits_.asked == [Use(USE, USE, "claude-test")]
    assert len(stand.sink.of(FeatureUsed)) == 1


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (InsufficientCredits("No credits."), 402, "USAGE_QUOTA_EXCEEDED"),
        (NotEntitled("Not entitled."), 403, "USAGE_QUOTA_NOT_ENTITLED"),
    ],
)
async def test_h11_68_a_proxied_call_without_credits_is_not_made(
    failure: Exception, status: int, code: str
) -> None:
    stand = Stand(quota=Credits(failure))
    reply = await ask(stand, "/internal/proxy/anthropic/v1/messages")
    assert (reply.status_code, reply.json()["error_code"]) == (status, code)
    assert stand.upstream
    assert not stand.upstream.calls
    assert not stand.sink.of(FeatureUsed)


async def test_a_paid_stream_that_breaks_is_cut_off_and_closed() -> None:
    stand = Stand(quota=Credits())
    with serving(stand) as (port, upstream):
        upstream.steps = [b"data: 1\n\n", UpstreamFailed("It broke.")]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        async with asyncio.timeout(5):
            reply = await reader.read()
        writer.close()
        assert await asyncio.to_thread(upstream.closed.wait, 5)
    assert reply.endswith(b"9\r\ndata: 1\n\n\r\n")
    assert stand.sink.of(ModelCalled)[0].finish == "error"


async def test_a_paid_call_that_fails_is_answered_as_any_other() -> None:
    stand = Stand(quota=Credits())
    assert stand.upstream
    stand.upstream.failure = UpstreamUnreachable("It was refused.")
    refused = await ask(stand, "/internal/proxy/anthropic/v1/messages")
    assert told(refused) == (500, {"message": "It was refused."})
