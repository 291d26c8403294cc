"""The authentication layer: what is open, and what the rest of the request gets to see."""

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from isthmus.auth.authenticate import Authenticator, AuthPolicy
from isthmus.core.errors import Unauthenticated
from isthmus.core.identity import Caller, ClientInfo
from isthmus.edge.http.auth import PUBLIC, Authentication, caller_of, client_of
from isthmus.edge.http.exchange import EXCHANGE, Exchange, Sender, exchange_of
from tests.support.clock import HandClock
from tests.support.sink import MemorySink
from tests.support.tokens import (
    SERVICE,
    FixedKeys,
    headers_for,
    payload,
    private_key,
    public_of,
    signed,
)


class Inside:
    """What stands behind the layer: remembers the scopes that reached it."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        self.scopes.append(scope)

    @property
    def request(self) -> Request:
        (scope,) = self.scopes
        return Request(scope)


async def _receive() -> Message:
    return {"type": "websocket.connect"}


async def _nowhere(message: Message) -> None:
    raise AssertionError(message)


async def run(
    path: str, headers: dict[str, str] | list[tuple[bytes, bytes]], policy: AuthPolicy | None = None
) -> Inside:
    inside = Inside()
    keys = FixedKeys(public_of(private_key()))
    clock = HandClock()
    authenticator = Authenticator(keys, policy or AuthPolicy(SERVICE), MemorySink(), clock)
    raw = headers
    if isinstance(raw, dict):
        raw = [(name.encode(), value.encode("latin-1")) for name, value in raw.items()]
    scope: Scope = {"type": "http", "method": "GET", "path": path, "headers": raw}
    scope[EXCHANGE] = Exchange(scope, _receive, _nowhere, clock)
    await Authentication(inside, authenticator)(scope, _receive, _nowhere)
    return inside


async def test_a_request_gets_its_caller_and_client() -> None:
    headers = headers_for(signed(payload())) | {
        "user-agent": "agent",
        "x-request-id": "abc",
        "cookie": "secret",
        "x-forwarded-for": "10.0.0.1",
    }
    request = (await run("/anything", headers)).request
    assert caller_of(request).global_user_id == "user-1"
    seen = client_of(request).headers
    assert seen["user-agent"] == "agent"
    assert seen["x-gitlab-realm"] == "self-managed"
    assert not {"authorization", "cookie", "x-forwarded-for"} & set(seen)


async def test_a_sender_that_proved_itself_is_asked_again_once_its_token_has_ended() -> None:
    inside, clock = Inside(), HandClock()
    keys = FixedKeys(public_of(private_key()))
    layer = Authentication(inside, Authenticator(keys, AuthPolicy(SERVICE), MemorySink(), clock))
    named = headers_for(signed(payload()))
    raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
    sender = Sender(raw)

    async def ask(at_s: float) -> None:
        scope: Scope = {"type": "http", "method": "GET", "path": "/x", "headers": raw}
        exchange = scope[EXCHANGE] = Exchange(scope, _receive, _nowhere, clock)
        exchange.sender, exchange.arrived_at_s = sender, at_s
        await layer(scope, _receive, _nowhere)

    now_s = clock.utc().timestamp()
    await ask(now_s)
    assert sender.known is None
    await ask(now_s)
    assert sender.known is not None
    known = sender.known
    await ask(now_s)
    assert sender.known is known
    assert len(inside.scopes) == 3
    clock.advance(known[0].expires_s - now_s)
    with pytest.raises(Unauthenticated):
        await ask(known[0].expires_s)


async def test_the_access_record_learns_the_issuer_and_no_token() -> None:
    token = signed(payload())
    inside = await run("/anything", headers_for(token))
    fields = dict(exchange_of(inside.scopes[0]).fields)
    assert fields["token_issuer"] == "https://gitlab.example.test"
    assert isinstance(fields["auth_duration_s"], float)
    assert token not in repr(fields)


@pytest.mark.parametrize("path", sorted(PUBLIC))
async def test_public_paths_are_open_and_have_no_caller(path: str) -> None:
    request = (await run(path, {"authorization": "Basic x"})).request
    assert client_of(request) == ClientInfo()
    with pytest.raises(KeyError):
        caller_of(request)


@pytest.mark.parametrize("path", sorted(PUBLIC))
async def test_only_the_exact_public_paths_are_open(path: str) -> None:
    near = [
        path + "/",
        "/" + path,
        path.upper(),
        path + "/..",
        "/ai" + path,
        path[1:],
        path + "\x00",
        path + "?",
        path + ";x",
        "/x/.." + path,
        path.replace("/", "//"),
    ]
    for other in near:
        with pytest.raises(Unauthenticated):
            await run(other, {})


async def test_unknown_paths_are_refused_before_anything_looks_at_them() -> None:
    for path in ("", "/", "/docs", "/openapi.json", "/ai/v1/proxy/x", "*", "/🙂"):
        with pytest.raises(Unauthenticated):
            await run(path, {})


async def test_of_a_repeated_header_the_first_counts() -> None:
    headers = headers_for(signed(payload()))
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = (await run("/x", [*raw, (b"x-gitlab-global-user-id", b"root")])).request
    assert caller_of(request).global_user_id == "user-1"
    assert client_of(request).get("x-gitlab-global-user-id") == "user-1"
    with pytest.raises(Unauthenticated):
        await run("/x", [(b"authorization", b"Basic x"), *raw])


async def test_bytes_beyond_ascii_are_a_refusal_and_not_an_error() -> None:
    with pytest.raises(Unauthenticated):
        await run("/x", headers_for("\xff\xfe"))


async def test_a_bypass_reaches_the_handler_as_a_debug_caller() -> None:
    request = (await run("/x", {}, AuthPolicy(SERVICE, bypass=True))).request
    assert caller_of(request) == Caller("debug", debug=True)


async def test_websockets_are_refused() -> None:
    inside, sent = Inside(), list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    authenticator = Authenticator(
        FixedKeys(), AuthPolicy(SERVICE, bypass=True), MemorySink(), HandClock()
    )
    scope: Scope = {"type": "websocket", "path": "/metrics", "headers": []}
    await Authentication(inside, authenticator)(scope, _receive, send)
    assert inside.scopes == []
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_what_is_no_request_passes() -> None:
    inside = Inside()
    authenticator = Authenticator(FixedKeys(), AuthPolicy(SERVICE), MemorySink(), HandClock())
    await Authentication(inside, authenticator)({"type": "lifespan"}, _receive, _nowhere)
    assert inside.scopes == [{"type": "lifespan"}]
