"""The provider proxy through the whole application: checks in their order, bytes untouched."""

import json

import httpx
import pytest

from isthmus.auth.authenticate import AuthPolicy
from isthmus.core.errors import UpstreamFailed, UpstreamTimeout, UpstreamUnreachable
from isthmus.core.events import ModelCalled
from isthmus.core.messages import Usage
from isthmus.edge.http.app import create
from isthmus.settings import GatewaySettings
from tests.support.http_app import EVENTS, SERVICE, Stand, bearer

PATH = "/v1/proxy/anthropic/v1/messages"
UP = "ai_gateway_model_provider_proxy"
NAMED = {"x-gitlab-unit-primitive": UP}
BODY = (
    b'{"model": "claude-test",  "max_tokens":64, "messages":[{"role":"user","content":"\\u00e9"}]}'
)


async def post(
    stand: Stand, *, path: str = PATH, headers: dict[str, str] | None = None, body: bytes = BODY
) -> httpx.Response:
    transport = httpx.ASGITransport(create(stand.services()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as http:
        return await http.post(path, headers=NAMED if headers is None else headers, content=body)


def closed(gateway: GatewaySettings | None = None) -> Stand:
    return Stand(policy=AuthPolicy(SERVICE), gateway=gateway or GatewaySettings())


def saas(**claims: object) -> dict[str, str]:
    token = {"gitlab_realm": "saas", "scopes": [UP]} | claims
    return bearer(token) | NAMED | {"x-gitlab-realm": "saas"}


def self_managed(**claims: object) -> dict[str, str]:
    token = {"gitlab_realm": "self-managed", "sub": "i-1", "scopes": [UP]} | claims
    named = {"x-gitlab-realm": "self-managed", "x-gitlab-instance-id": "i-1"}
    return bearer(token) | NAMED | named


def told(reply: httpx.Response) -> tuple[int, object]:
    return reply.status_code, reply.json()


async def test_a_reply_comes_back_byte_for_byte() -> None:
    stand = Stand()
    assert stand.upstream
    stand.upstream.steps = [b'{"text": ', b'"\\u00e9"}']
    stand.upstream.reply_headers = (
        ("content-type", "application/json"),
        ("anthropic-ratelimit-requests-remaining", "9"),
    )
    reply = await post(stand)
    assert (reply.status_code, reply.content) == (200, b'{"text": "\\u00e9"}')
    assert reply.headers["content-length"] == str(len(reply.content))
    assert reply.headers["anthropic-ratelimit-requests-remaining"] == "9"
    assert "x-request-id" in reply.headers
    [call] = stand.upstream.calls
    assert (call.body, call.path, call.model) == (BODY, "/v1/messages", "claude-test")
    assert not call.streaming
    assert stand.upstream.closed.is_set()


@pytest.mark.parametrize("prefix", ["", "/ai"])
async def test_a_stream_comes_back_as_it_is_under_both_prefixes(prefix: str) -> None:
    stand = Stand()
    assert stand.upstream
    stand.upstream.reply_headers = EVENTS
    stand.upstream.steps = [b"event: a\n", b"data: 1\n\n", b"event: b\r\ndata: 2\r\n\r\n"]
    body = b'{"model":"claude-test","stream":true}'
    reply = await post(stand, path=f"{prefix}{PATH}?beta=true", body=body)
    assert reply.status_code == 200
    assert reply.content == b"".join(s for s in stand.upstream.steps if isinstance(s, bytes))
    assert reply.headers["content-type"] == EVENTS[0][1]
    [call] = stand.upstream.calls
    assert (call.path, call.streaming) == ("/v1/messages?beta=true", True)
    [fact] = stand.sink.of(ModelCalled)
    assert (fact.usage, fact.unit_primitive, fact.streaming) == (Usage(3, 5), UP, True)


async def test_the_meter_sees_every_chunk_and_may_break() -> None:
    stand = Stand()
    assert stand.upstream
    stand.upstream.steps = [b"{", b"}"]
    stand.upstream.meter_breaks = True
    reply = await post(stand)
    assert (reply.status_code, reply.content) == (200, b"{}")
    assert stand.upstream.metered == [b"{", b"}"]
    assert stand.sink.of(ModelCalled)[0].usage is None


async def test_h11_60_the_unit_primitive_must_be_there_and_known() -> None:
    missing = await post(Stand(), headers={})
    unknown = await post(Stand(), headers={"x-gitlab-unit-primitive": "zzz"})
    assert told(missing) == (400, {"detail": "Missing x-gitlab-unit-primitive header"})
    assert told(unknown) == (400, {"detail": "Unknown unit primitive header zzz"})


@pytest.mark.parametrize(
    "path",
    [
        "/v1/proxy/anthropic/v1/complete",
        f"{PATH}?x=1",
        f"{PATH}?beta=true&x=1",
        f"{PATH}/",
        "/v1/proxy/anthropic/",
        "/v1/proxy/anthropic/v1/mess%61ges",
        "/v1/proxy/anthropic/v1/messages%3Fbeta=true",
        "/v1/proxy/anthropic/v1/%2e%2e/v1/messages",
        "/v1/proxy/anthropic//v1/messages",
        "/v1/proxy/anthropic/v1/proxy/anthropic/v1/messages",
    ],
)
async def test_h11_61_only_listed_paths_are_forwarded(path: str) -> None:
    stand = Stand()
    # Escaped characters must arrive as they are written.
    transport = httpx.ASGITransport(create(stand.services()))
    url = httpx.URL("http://gateway.test").copy_with(raw_path=path.encode())
    async with httpx.AsyncClient(transport=transport) as http:
        reply = await http.post(url, headers=NAMED, content=BODY)
    assert told(reply) == (404, {"detail": "Not found"})
    assert stand.upstream
    assert not stand.upstream.calls


DEEP = b'{"model":"claude-test","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
MANY = b'{"model":"claude-test"' + b"".join(b',"k%d":1' % number for number in range(200)) + b"}"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "Invalid JSON"),
        (b"model=claude-test", "Invalid JSON"),
        (b'{"model":"claude-test"', "Invalid JSON"),
        (b'{"model":"claude-test"} {}', "Invalid JSON"),
        (b'{"model":"\xff"}', "Invalid JSON"),
        (b'{"model":"\\ud800"}', "Invalid JSON"),
        (DEEP, "Invalid JSON"),
        (b"{}", "Failed to extract model name"),
        (b"[]", "Failed to extract model name"),
        (b'"claude-test"', "Failed to extract model name"),
        (b'{"model":null}', "Failed to extract model name"),
        (b'{"model":""}', "Failed to extract model name"),
        (b'{"Model":"claude-test"}', "Failed to extract model name"),
        (MANY, "Failed to extract model name"),
        (b'{"model":"gpt-9"}', "Unsupported model"),
        (b'{"model":7}', "Unsupported model"),
        (b'{"model":["claude-test"]}', "Unsupported model"),
        (b'{"model":"claude-test "}', "Unsupported model"),
    ],
)
async def test_h11_61_bodies_that_are_not_forwarded(body: bytes, detail: str) -> None:
    stand = Stand()
    assert told(await post(stand, body=body)) == (400, {"detail": detail})
    assert stand.upstream
    assert not stand.upstream.calls


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"claude-secret","model":"claude-test"}',
        b'{"model":"claude-test","model":"claude-secret"}',
        b'{"mod\\u0065l":"claude-secret","model":"claude-test"}',
        b'{"model":"claude-test","MODEL":"claude-secret"}',
        b'{"model":"claude-test","mode\\u006c":"claude-secret"}',
        b'{"mOdEl":"claude-secret","model":"claude-test","stream":true}',
        b'{"Model":"claude-secret","model":"claude-test"}',
    ],
)
async def test_a_body_that_names_two_models_is_refused(body: bytes) -> None:
    stand = Stand()
    reply = await post(stand, body=body)
    assert told(reply) == (400, {"detail": "The body names its model more than once"})
    assert stand.upstream
    assert not stand.upstream.calls


async def test_a_model_named_deeper_in_the_body_does_not_count() -> None:
    deeper = b'"tools":[{"model":"x"}],"system":"say \\"model\\":","metadata":{"model":1}'
    body = b'{"model":"claude-test",' + deeper + b"}"
    assert (await post(Stand(), body=body)).status_code == 200


async def test_h11_62_only_listed_headers_reach_the_provider() -> None:
    stand = Stand(policy=AuthPolicy(SERVICE))
    headers = saas() | {
        "anthropic-version": "2023-06-01",
        "Anthropic-Beta": "b1",
        "x-api-key": "the caller's",
        "cookie": "a=b",
        "accept": "application/json",
        "x-request-id": "r1",
    }
    assert (await post(stand, headers=headers)).status_code == 200
    assert stand.upstream
    sent = dict(stand.upstream.calls[0].headers)
    assert sent == {
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "b1",
        "accept": "application/json",
    }


@pytest.mark.parametrize("stream", [True, False])
async def test_h11_63_an_error_of_the_provider_is_passed_on(stream: bool) -> None:
    stand = Stand()
    assert stand.upstream
    error = b'{"type":"error","error":{"type":"rate_limit_error"}}'
    stand.upstream.status = 429
    stand.upstream.steps = [error]
    stand.upstream.reply_headers = (("content-type", "application/json"), ("retry-after", "3"))
    body = json.dumps({"model": "claude-test", "stream": stream}).encode()
    reply = await post(stand, body=body)
    assert (reply.status_code, reply.content) == (429, error)
    assert reply.headers["retry-after"] == "3"


@pytest.mark.parametrize(("text", "message"), [(b"<h1>no</h1>", "<h1>no</h1>"), (b"", "")])
async def test_an_error_that_is_not_json_becomes_a_message(text: bytes, message: str) -> None:
    stand = Stand()
    assert stand.upstream
    stand.upstream.status = 502
    stand.upstream.steps = [text]
    stand.upstream.reply_headers = (("content-type", "text/html"), ("retry-after", "3"))
    reply = await post(stand)
    assert told(reply) == (502, {"message": message})
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["retry-after"] == "3"


@pytest.mark.parametrize(
    ("headers", "gateway", "detail"),
    [
        (
            saas(gitlab_root_namespace_id=2),
            GatewaySettings(proxy_saas=("1",)),
            "Proxy endpoints are not enabled for this namespace",
        ),
        (
            saas(),
            GatewaySettings(proxy_saas=("1",)),
            "Proxy endpoints are not enabled for this namespace",
        ),
        (
            self_managed(),
            GatewaySettings(proxy_self_managed=("i-1",)),
            "Proxy endpoints are not enabled for this instance",
        ),
    ],
)
async def test_h11_64_the_proxy_may_be_kept_for_some(
    headers: dict[str, str], gateway: GatewaySettings, detail: str
) -> None:
    # It is the first check of all: nothing else is right about these requests.
    reply = await post(closed(gateway=gateway), headers=headers, body=b"?", path=PATH + "/x")
    assert told(reply) == (402, {"detail": detail})


async def test_those_on_the_list_pass_and_each_list_is_for_its_realm() -> None:
    one = GatewaySettings(proxy_saas=("2",))
    listed = saas(gitlab_root_namespace_id=2)
    assert (await post(closed(gateway=one), headers=listed)).status_code == 200
    assert (await post(closed(gateway=one), headers=self_managed())).status_code == 200


async def test_the_scope_must_be_held() -> None:
    stand = closed()
    headers = bearer({"scopes": ["complete_code"]}) | NAMED
    reply = await post(stand, headers=headers)
    assert told(reply) == (403, {"detail": f"Unauthorized to access {UP}"})


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        (self_managed(gitlab_instance_uid="u-1"), "Gitlab instance uid mismatch"),
        (saas() | {"x-gitlab-project-id": "7"}, "Gitlab project id mismatch"),
        (saas(gitlab_project_id="7"), "Gitlab project id mismatch"),
        (
            saas(gitlab_project_id="7") | {"x-gitlab-project-id": "8"},
            "Gitlab project id mismatch",
        ),
        (saas() | {"x-gitlab-namespace-id": "7"}, "Gitlab namespace id mismatch"),
        (
            bearer({"scopes": [UP]}) | NAMED | {"x-gitlab-root-namespace-id": "7"},
            "Gitlab root namespace id mismatch",
        ),
    ],
)
async def test_headers_may_not_contradict_the_token(headers: dict[str, str], detail: str) -> None:
    assert told(await post(closed(), headers=headers)) == (403, {"detail": detail})


@pytest.mark.parametrize(
    "headers",
    [
        self_managed(),
        self_managed(gitlab_instance_uid="i-1") | {"x-gitlab-project-id": "9"},
        saas(gitlab_project_id="7", gitlab_namespace_id="8", gitlab_root_namespace_id=9)
        | {"x-gitlab-project-id": "7", "x-gitlab-namespace-id": "8"},
        saas() | {"x-gitlab-project-id": "null", "x-gitlab-namespace-id": ""},
        bearer({"scopes": [UP]}) | NAMED,
    ],
)
async def test_headers_that_agree_with_the_token_pass(headers: dict[str, str]) -> None:
    assert (await post(closed(), headers=headers)).status_code == 200


async def test_some_scopes_cannot_pay_for_a_forwarded_call() -> None:
    reply = await post(Stand(), headers={"x-gitlab-unit-primitive": "complete_code"})
    detail = "This endpoint cannot be used for complete_code purpose"
    assert told(reply) == (400, {"detail": detail})
    allowed = await post(Stand(), headers={"x-gitlab-unit-primitive": "explain_vulnerability"})
    assert allowed.status_code == 200


@pytest.mark.parametrize(("provider", "status"), [("anthropic", 400), ("openai", 500)])
async def test_a_provider_without_a_key_is_told_last(provider: str, status: int) -> None:
    stand = Stand(upstream=None)
    path = f"/v1/proxy/{provider}/v1/messages"
    assert (await post(stand, path=path, body=b"?")).json() == {"detail": "Invalid JSON"}
    if provider == "anthropic":
        assert told(await post(stand, path=path)) == (status, {"detail": "API key not found"})
    else:
        assert told(await post(stand, path=path)) == (400, {"detail": "Unsupported model"})


@pytest.mark.parametrize(
    ("failure", "status", "body"),
    [
        (UpstreamUnreachable("It was refused."), 500, {"message": "It was refused."}),
        (UpstreamTimeout("Too slow.", "connect"), 500, {"message": "Too slow."}),
        (UpstreamTimeout("Too slow.", "first_byte"), 502, {"detail": "Bad Gateway"}),
        (UpstreamFailed("It broke."), 502, {"detail": "Bad Gateway"}),
    ],
)
@pytest.mark.parametrize("later", [True, False])
async def test_a_provider_that_fails_before_its_first_byte(
    failure: Exception, status: int, body: object, later: bool
) -> None:
    stand = Stand()
    assert stand.upstream
    if later:
        stand.upstream.reply_headers = EVENTS
        stand.upstream.steps = [failure]
    else:
        stand.upstream.failure = failure
    assert told(await post(stand)) == (status, body)
    assert stand.upstream.closed.is_set()
    assert len(stand.sink.of(ModelCalled)) == 1


async def test_a_short_reply_that_breaks_is_still_an_honest_status() -> None:
    stand = Stand()
    assert stand.upstream
    stand.upstream.steps = [b'{"half":', UpstreamFailed("It broke.")]
    assert told(await post(stand)) == (502, {"detail": "Bad Gateway"})


async def test_a_reply_too_long_to_hold_is_relayed() -> None:
    stand = Stand()
    assert stand.upstream
    stand.upstream.steps = [b"x" * 700_000] * 4
    reply = await post(stand)
    assert reply.content == b"x" * 2_800_000
    assert "content-length" not in reply.headers
