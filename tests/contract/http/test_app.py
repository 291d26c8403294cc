"""The application's layers in-process: who gets in, what every answer carries, what is told."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message

from isthmus.auth.authenticate import AuthPolicy
from isthmus.core.errors import Invalid, LimitExceeded, Unavailable
from isthmus.core.events import REQUEST_ID, Crashed, HttpServed
from isthmus.core.notes import NOTES
from isthmus.edge.http.app import assemble, create, endpoints_of
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.exchange import note
from isthmus.edge.services import Readiness
from isthmus.gateway.payloads import PayloadPolicy
from isthmus.settings import HttpSettings
from tests.support.http_app import SERVICE, Stand, bearer

CLOSED = AuthPolicy(SERVICE)
NO_HEADER = {"error": "No authorization header presented"}


def client(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway.test")


async def ask(
    stand: Stand, method: str, path: str, headers: dict[str, str] | None = None
) -> httpx.Response:
    async with client(create(stand.services())) as http:
        return await http.request(method, path, headers=headers)


async def test_h11_01_healthz_needs_no_headers() -> None:
    reply = await ask(Stand(policy=CLOSED), "GET", "/monitoring/healthz")
    assert (reply.status_code, reply.json()) == (200, {})


@pytest.mark.parametrize("path", ["/v1/code/user_access_token", "/v1/proxy/anthropic/v1/messages"])
async def test_h11_03_a_post_without_a_token_is_refused(path: str) -> None:
    reply = await ask(Stand(policy=CLOSED), "POST", path)
    assert (reply.status_code, reply.json()) == (401, NO_HEADER)
    assert "www-authenticate" not in reply.headers


async def test_h11_04_an_unknown_path_is_told_only_to_known_callers() -> None:
    stand = Stand(policy=CLOSED)
    stranger = await ask(stand, "POST", "/nothing/here")
    known = await ask(stand, "POST", "/nothing/here", bearer({"scopes": []}))
    assert (stranger.status_code, stranger.json()) == (401, NO_HEADER)
    assert (known.status_code, known.json()) == (404, {"detail": "Not Found"})


async def test_the_root_is_closed() -> None:
    reply = await ask(Stand(policy=CLOSED), "GET", "/")
    assert (reply.status_code, reply.json()) == (401, NO_HEADER)


async def test_h11_05_a_wrong_verb_is_refused_and_the_right_one_named() -> None:
    reply = await ask(Stand(), "GET", "/v1/code/user_access_token")
    assert (reply.status_code, reply.json()) == (405, {"detail": "Method Not Allowed"})
    assert reply.headers["allow"] == "POST"


async def test_a_trailing_slash_makes_another_path() -> None:
    assert (await ask(Stand(), "GET", "/monitoring/healthz/")).status_code == 404


async def test_h11_16_bypass_opens_every_route() -> None:
    stand = Stand(policy=AuthPolicy(SERVICE, bypass=True))
    assert (await ask(stand, "GET", "/nothing")).status_code == 404
    assert (await ask(stand, "POST", "/v1/proxy/anthropic/v1/messages")).status_code == 400


@pytest.mark.parametrize(("value", "status"), [("true", 404), ("1", 401)])
async def test_h11_17_bypass_with_header_wants_exactly_true(value: str, status: int) -> None:
    stand = Stand(policy=AuthPolicy(SERVICE, bypass_with_header=True))
    assert (await ask(stand, "GET", "/x", {"bypass-auth": value})).status_code == status


async def test_h11_18_the_request_id_is_echoed_or_made() -> None:
    stand = Stand(policy=CLOSED)
    echoed = await ask(stand, "GET", "/", {"x-request-id": "abc"})
    made = await ask(stand, "GET", "/")
    assert echoed.headers["x-request-id"] == "abc"
    assert re.fullmatch("[0-9a-f]{32}", made.headers["x-request-id"])
    assert stand.sink.of(HttpServed)[0].request_id == "abc"


@pytest.mark.parametrize("value", ["", "a b", "x" * 257, "caf\u00e9"])
async def test_a_request_id_that_is_not_short_visible_ascii_is_replaced(value: str) -> None:
    async with client(create(Stand().services())) as http:
        headers = [(b"x-request-id", value.encode("latin-1"))]
        reply = await http.get("/monitoring/healthz", headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", reply.headers["x-request-id"])


@pytest.mark.parametrize("path", ["/", "/monitoring/healthz", "/nothing"])
async def test_h11_19_every_answer_tells_its_process_time(path: str) -> None:
    for policy in (CLOSED, AuthPolicy(SERVICE, bypass=True)):
        reply = await ask(Stand(policy=policy), "GET", path)
        assert float(reply.headers["x-process-time"]) >= 0
        assert "." in reply.headers["x-process-time"]


async def test_h11_20_a_preflight_needs_no_token() -> None:
    headers = {
        "origin": "https://anywhere.test",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, x-gitlab-realm",
    }
    reply = await ask(Stand(policy=CLOSED), "OPTIONS", "/v2/code/completions", headers)
    assert (reply.status_code, reply.text) == (200, "OK")
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-max-age"] == "600"
    assert reply.headers["access-control-allow-methods"] == "POST"
    assert "access-control-allow-credentials" not in reply.headers
    assert "x-request-id" in reply.headers


async def test_a_refusal_can_be_read_by_a_page_of_another_origin() -> None:
    reply = await ask(Stand(policy=CLOSED), "POST", "/v2/x", {"origin": "https://a.test"})
    assert reply.status_code == 401
    assert reply.headers["access-control-allow-origin"] == "*"


async def test_h11_70_the_api_port_has_no_metrics() -> None:
    reply = await ask(Stand(policy=CLOSED), "GET", "/metrics")
    assert (reply.status_code, reply.json()) == (404, {"detail": "Not Found"})


async def test_readiness_follows_the_serving_flag() -> None:
    stand = Stand(policy=CLOSED)
    services = stand.services()
    async with client(create(services)) as http:
        up = await http.get("/monitoring/ready")
        services.readiness.set_serving(serving=False)
        down = await http.get("/monitoring/ready")
    assert (up.status_code, up.json()) == (200, {"serving": True})
    assert (down.status_code, down.json()) == (503, {"serving": False})


async def test_readiness_names_what_weakens_authentication() -> None:
    services = Stand(policy=CLOSED).services()
    open_doors = Readiness({}, services.clock, ("auth.bypass_external",))
    open_doors.set_serving(serving=True)
    async with client(create(replace(services, readiness=open_doors))) as http:
        up = await http.get("/monitoring/ready")
    told = {"serving": True, "bypasses": ["auth.bypass_external"]}
    assert (up.status_code, up.json()) == (200, told)


async def test_a_422_names_fields_to_whom_payloads_may_be_logged_for() -> None:
    stand = Stand(payloads=PayloadPolicy(custom_models=True))
    asks = "x-gitlab-enabled-instance-verbose-ai-logs"
    plain = await ask(stand, "POST", "/v1/amazon_q/oauth/application/delete")
    verbose = await ask(stand, "POST", "/v1/amazon_q/oauth/application/delete", {asks: "true"})
    assert (plain.status_code, plain.json()) == (422, {"detail": "Validation error"})
    assert "is not valid JSON" in verbose.json()["detail"]
    first, second = stand.sink.of(HttpServed)
    assert dict(first.fields)["http_exception_details"] == "Validation error"
    assert dict(second.bound) == {"enabled-instance-verbose-ai-logs": "true"}


async def test_the_record_of_a_request_is_whole() -> None:
    stand = Stand(policy=CLOSED)
    headers = bearer({"sub": "i", "gitlab_realm": "saas", "scopes": []}) | {
        "x-gitlab-realm": "saas",
        "x-gitlab-instance-id": "i",
        "x-gitlab-version": "18.1.0",
        "user-agent": "editor/1",
        "x-gitlab-rails-send-start": str(stand.clock.utc().timestamp() - 2),
    }
    await ask(stand, "GET", "/nothing?a=b%20c", headers)
    [fact] = stand.sink.of(HttpServed)
    assert (fact.method, fact.route, fact.path) == ("GET", "", "/nothing?a=b%20c")
    assert (fact.status, fact.content_type, fact.http_version) == (404, "application/json", "1.1")
    assert (fact.user_agent, fact.aborted) == ("editor/1", False)
    assert fact.arrived_at_s == stand.clock.utc().timestamp()
    assert dict(fact.bound) == {
        "gitlab_realm": "saas",
        "gitlab_instance_id": "i",
        "gitlab_version": "18.1.0",
    }
    fields = dict(fact.fields)
    assert cast("float", fields.pop("auth_duration_s")) > 0
    assert fields == {
        "duration_request": 2.0,
        "token_issuer": "https://gitlab.test",
        "gitlab_realm": "saas",
    }
    assert "authorization" not in repr(fact).lower()


async def test_every_record_has_the_wall_time_of_its_request() -> None:
    stand = Stand()
    app = create(stand.services())
    expected: list[float] = []
    async with client(app) as http:
        for pause_s in (0.0, 0.5, 0.75, 60.0):
            stand.clock.advance(pause_s)
            expected.append(stand.clock.utc().timestamp())
            await http.get("/monitoring/healthz")
    assert [fact.arrived_at_s for fact in stand.sink.of(HttpServed)] == expected


async def test_a_refused_request_is_counted_under_its_route() -> None:
    stand = Stand(policy=CLOSED)
    await ask(stand, "POST", "/ai/v1/proxy/anthropic/v1/messages")
    [fact] = stand.sink.of(HttpServed)
    assert (fact.route, fact.status) == ("/ai/v1/proxy/anthropic/{path:path}", 401)
    assert ("auth_error_details", NO_HEADER["error"]) in fact.fields
    assert ("duration_request", -1) in fact.fields


async def fail(request: Request) -> Response:
    note(request.scope, "tried", 1)
    raise KeyError(request.headers["x-said"])


def broken(error: Exception) -> Endpoint:
    async def handle(_: Request) -> Response:
        raise error

    return Endpoint("POST", "/broken", handle, "Fail.")


async def test_a_bug_answers_500_and_leaks_nothing() -> None:
    stand = Stand()
    app = assemble(stand.services(), [Endpoint("POST", "/broken", fail, "Fail.")])
    async with client(app) as http:
        reply = await http.post("/broken", headers={"x-request-id": "r1", "x-said": "secret"})
    assert (reply.status_code, reply.text) == (500, "Internal Server Error")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    [crash] = stand.sink.of(Crashed)
    assert (crash.where, crash.error) == ("POST /broken", "KeyError")
    assert "in fail" in crash.trace
    assert "secret" not in crash.trace
    [fact] = stand.sink.of(HttpServed)
    assert (fact.request_id, fact.status) == ("r1", 500)
    assert ("tried", 1) in fact.fields


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (LimitExceeded("Too many of them.", 1.2), 429, "2"),
        (Unavailable("The server drains."), 503, "5"),
        (Invalid("Validation error"), 422, None),
    ],
)
async def test_a_failure_has_its_status(
    error: Exception, status: int, retry_after: str | None
) -> None:
    stand = Stand()
    async with client(assemble(stand.services(), [broken(error)])) as http:
        reply = await http.post("/broken")
    assert reply.status_code == status
    assert reply.headers.get("retry-after") == retry_after
    assert not stand.sink.of(Crashed)


async def test_the_request_id_is_known_while_the_handler_runs() -> None:
    async def handle(_: Request) -> Response:
        return PlainTextResponse(REQUEST_ID.get())

    app = assemble(Stand().services(), [Endpoint("GET", "/id", handle, "Tell.")])
    async with client(app) as http:
        reply = await http.get("/id", headers={"x-request-id": "r2"})
    assert reply.text == "r2"


@pytest.mark.parametrize(("waited_s", "own"), [(0.75, 0.25), (5.0, 0.0)])
async def test_an_answer_tells_our_own_part_of_its_time(waited_s: float, own: float) -> None:
    stand = Stand()

    async def handle(_: Request) -> Response:
        notes = NOTES.get()
        assert notes is not None
        stand.clock.advance(1.0)
        notes.upstream_s += waited_s
        return PlainTextResponse("ok")

    app = assemble(stand.services(), [Endpoint("GET", "/waits", handle, "Wait.")])
    async with client(app) as http:
        reply = await http.get("/waits")
    assert reply.headers["server-timing"] == f"isthmus;dur={own * 1000:.3f}"
    [fact] = stand.sink.of(HttpServed)
    assert (fact.response_start_s, fact.own_s) == (1.0, own)


async def test_two_endpoints_on_one_path_and_method_stop_the_start() -> None:
    services = Stand().services()
    endpoints = endpoints_of(services)
    with pytest.raises(ValueError, match="two endpoints claim GET /monitoring/healthz"):
        assemble(
            services,
            [*endpoints, replace(broken(KeyError()), method="GET", path="/monitoring/healthz")],
        )


async def test_what_loads_later_is_called_for_by_the_first_path_that_fits_no_other() -> None:
    async def handle(request: Request) -> Response:
        return PlainTextResponse(request.url.path)

    calls: list[str] = []

    def later() -> list[Endpoint]:
        calls.append("later")
        return [Endpoint("GET", "/later", handle, "Tell.")]

    app = assemble(Stand().services(), [Endpoint("GET", "/now", handle, "Tell.")], later)
    async with client(app) as http:
        assert (await http.get("/now")).text == "/now"
        assert not calls
        replies = await asyncio.gather(*(http.get(path) for path in ("/later", "/never", "/later")))
        assert [reply.status_code for reply in replies] == [200, 404, 200]
        asked = len(calls)
        assert (await http.get("/neither")).status_code == 404
    assert len(calls) == asked


async def test_one_path_may_have_two_methods() -> None:
    async def handle(request: Request) -> Response:
        return PlainTextResponse(request.method)

    two = [Endpoint(method, "/two", handle, "Tell.") for method in ("GET", "POST")]
    async with client(assemble(Stand().services(), two)) as http:
        assert (await http.get("/two")).text == "GET"
        assert (await http.post("/two")).text == "POST"
        refused = await http.delete("/two")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"content-length", b"2000")], 413),
        ([(b"content-length", b"9" * 400)], 413),
        ([(b"content-length", b"-1")], 400),
        ([(b"content-length", b"1_0")], 400),
    ],
)
async def test_a_declared_length_is_judged_before_the_body_is_read(
    headers: list[tuple[bytes, bytes]], status: int
) -> None:
    async def unread(_: Request) -> Response:
        raise AssertionError("the handler ran")

    stand = Stand(http=HttpSettings(body_limit_bytes=1024))
    app = assemble(stand.services(), [Endpoint("POST", "/body", unread, "Read.")])
    async with client(app) as http:
        reply = await http.post("/body", headers=headers)
    assert reply.status_code == status
    assert "detail" in reply.json()


async def test_a_body_of_unknown_length_is_counted() -> None:
    async def read(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 512

    stand = Stand(http=HttpSettings(body_limit_bytes=1024))
    app = assemble(stand.services(), [Endpoint("POST", "/body", read, "Read.")])
    async with client(app) as http:
        assert (await http.post("/body", content=pieces(2))).text == "1024"
        assert (await http.post("/body", content=pieces(3))).status_code == 413


async def test_a_preflight_for_another_method_is_told_no() -> None:
    headers = {"origin": "https://a.test", "access-control-request-method": "DELETE"}
    reply = await ask(Stand(policy=CLOSED), "OPTIONS", "/v2/x", headers)
    assert (reply.status_code, reply.text) == (400, "Disallowed CORS method")


@pytest.mark.parametrize("missing", ["origin", "access-control-request-method"])
async def test_options_that_is_no_preflight_is_closed(missing: str) -> None:
    headers = {"origin": "https://a.test", "access-control-request-method": "POST"}
    del headers[missing]
    assert (await ask(Stand(policy=CLOSED), "OPTIONS", "/v2/x", headers)).status_code == 401


async def test_a_websocket_is_refused_and_other_protocols_unknown() -> None:
    app = create(Stand().services())
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    await app({"type": "websocket", "path": "/"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    with pytest.raises(NotImplementedError):
        await app({"type": "lifespan"}, receive, send)
