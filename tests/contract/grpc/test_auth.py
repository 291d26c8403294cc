"""Authentication of RPCs, through a real server: arities, texts, and what stays open."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection, reflection_pb2

from isthmus.auth.authenticate import Authenticator, AuthPolicy
from isthmus.core.errors import Unavailable
from isthmus.core.ports import KeySet, VerificationKey
from isthmus.edge.grpc.auth import Authentication, caller_of, client_of, headers_of
from tests.support.clock import HandClock
from tests.support.sink import MemorySink
from tests.support.tokens import (
    NOW_S,
    FixedKeys,
    headers_for,
    payload,
    private_key,
    public_of,
    signed,
)

PLATFORM = "gitlab-duo-workflow-service"
POLICY = AuthPolicy(PLATFORM)
ARITIES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
Context: TypeAlias = "aio.ServicerContext[Any, Any]"
Metadata: TypeAlias = Sequence[tuple[str, str]]


def told(context: Context) -> bytes:
    """What the servicer may learn, and that the context still is one."""
    client = client_of(context)
    assert "authorization" not in client.headers
    assert context.peer()
    return f"{caller_of(context).global_user_id} {client.get('x-gitlab-realm')}".encode()


async def answer(_: bytes, context: Context) -> bytes:
    return told(context)


async def answer_many(requests: AsyncIterator[bytes], context: Context) -> bytes:
    return b"".join([part async for part in requests]) + told(context)


async def write(_: bytes, context: Context) -> None:
    await context.write(told(context))


async def generate(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    async for part in requests:
        yield part
    yield told(context)


HANDLERS: "dict[str, grpc.RpcMethodHandler[Any, Any]]" = {
    "unary_unary": grpc.unary_unary_rpc_method_handler(answer),
    "unary_stream": grpc.unary_stream_rpc_method_handler(write),
    "stream_unary": grpc.stream_unary_rpc_method_handler(answer_many),
    "stream_stream": grpc.stream_stream_rpc_method_handler(generate),
}


@pytest.fixture
def connect(tmp_path: Path) -> Callable[..., Any]:
    @asynccontextmanager
    async def opened(
        keys: KeySet | None = None, policy: AuthPolicy = POLICY, *, reflecting: bool = False
    ) -> AsyncIterator[aio.Channel]:
        key_set = keys or FixedKeys(public_of(private_key()))
        authenticator = Authenticator(key_set, policy, MemorySink(), HandClock())
        server = aio.server(interceptors=[Authentication(authenticator, reflection=reflecting)])
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("S", HANDLERS)])
        health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
        if reflecting:
            reflection.enable_server_reflection(["S", reflection.SERVICE_NAME], server)
        address = f"unix:{tmp_path / 'socket'}"
        server.add_insecure_port(address)
        await server.start()
        try:
            async with aio.insecure_channel(address) as channel:
                yield channel
        finally:
            await server.stop(0)

    return opened


async def call(channel: aio.Channel, arity: str, metadata: Metadata, method: str = "") -> bytes:
    """Call a method of this arity with one message; the joined answer."""
    rpc = getattr(channel, arity)(f"/S/{method or arity}")
    request: object = b"in." if arity.startswith("unary") else iter([b"in."])
    made = rpc(request, metadata=metadata, timeout=10)
    if arity.endswith("unary"):
        return await made
    return b"".join([part async for part in made])


async def refusal(
    channel: aio.Channel, arity: str, metadata: Metadata, method: str = ""
) -> tuple[grpc.StatusCode, str]:
    """How the call ends. Of a stream nothing is sent: a message that crosses the end hides it."""
    rpc = getattr(channel, arity)(f"/S/{method or arity}")
    request = [b"in."] if arity.startswith("unary") else []
    made = rpc(*request, metadata=metadata, timeout=10)
    return await made.code(), await made.details() or ""


def metadata_for(token: str, **changes: str | None) -> list[tuple[str, str]]:
    return list(headers_for(token, **changes).items())


def good(**changes: object) -> str:
    return signed(payload(aud=PLATFORM, **changes))


@pytest.mark.parametrize("arity", ARITIES)
async def test_the_servicer_learns_who_calls(connect: Callable[..., Any], arity: str) -> None:
    async with connect() as channel:
        reply = await call(channel, arity, metadata_for(good()))
    assert reply.removeprefix(b"in.") == b"user-1 self-managed"


@pytest.mark.parametrize("arity", ARITIES)
async def test_a12_04_no_authorization(connect: Callable[..., Any], arity: str) -> None:
    expected = (grpc.StatusCode.UNAUTHENTICATED, "No authorization header presented")
    async with connect() as channel:
        assert await refusal(channel, arity, ()) == expected
        assert await refusal(channel, arity, (), "Unknown") == expected


@pytest.mark.parametrize("arity", ["unary_unary", "stream_stream"])
async def test_a12_05_to_08_refusals_and_their_texts(
    connect: Callable[..., Any], arity: str
) -> None:
    type_text = "Invalid authentication token type - only OIDC is supported"
    forbidden = "Forbidden by auth provider"
    own = good(iss=PLATFORM, sub="user-1")
    cases = [
        (metadata_for("", authorization="Basic x"), "Invalid authorization header"),
        (metadata_for(good(), x_gitlab_authentication_type=None), type_text),
        (metadata_for(good(), x_gitlab_authentication_type="OIDC"), type_text),
        (metadata_for(good(exp=NOW_S)), forbidden),
        (metadata_for(signed(payload(aud="gitlab-ai-gateway"))), forbidden),
        (metadata_for(signed(payload(aud=PLATFORM), private_key("nobody"))), forbidden),
        (metadata_for(good(), x_gitlab_realm="saas"), "Header mismatch 'X-Gitlab-Realm'"),
        (metadata_for(good(), x_gitlab_instance_id=None), "Header mismatch 'X-Gitlab-Instance-Id'"),
        (
            metadata_for(own, x_gitlab_global_user_id="user-2"),
            "Header mismatch 'X-Gitlab-Global-User-Id'",
        ),
    ]
    async with connect() as channel:
        for metadata, text in cases:
            got = await refusal(channel, arity, metadata)
            assert got == (grpc.StatusCode.UNAUTHENTICATED, text)


async def test_a12_09_the_old_key_is_accepted(connect: Callable[..., Any]) -> None:
    old, new = private_key("old"), private_key("new")
    keys = FixedKeys(
        public_of(new, f"{PLATFORM}_signing_key"), public_of(old, f"{PLATFORM}_validation_key")
    )
    async with connect(keys) as channel:
        for key in (old, new):
            token = signed(payload(aud=PLATFORM), key)
            assert await call(channel, "unary_unary", metadata_for(token))


async def test_a12_14_switched_off_any_call_is_accepted(connect: Callable[..., Any]) -> None:
    async with connect(policy=AuthPolicy(PLATFORM, enabled=False)) as channel:
        for arity in ARITIES:
            assert (await call(channel, arity, ())).removeprefix(b"in.") == b" "


async def test_a12_02_health_is_open(connect: Callable[..., Any]) -> None:
    parse = health_pb2.HealthCheckResponse.FromString
    serving = health_pb2.HealthCheckResponse.SERVING
    async with connect() as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", response_deserializer=parse)
        assert (await check(b"", timeout=10)).status == serving
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch", response_deserializer=parse)
        async for state in watch(b"", timeout=10):
            assert state.status == serving
            break


REFLECT = [f"/grpc.reflection.{v}.ServerReflection/ServerReflectionInfo" for v in ("v1", "v1alpha")]


async def listed(channel: aio.Channel, method: str, metadata: Metadata) -> list[str]:
    ask = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    parse = reflection_pb2.ServerReflectionResponse.FromString
    rpc = channel.stream_stream(method, request_serializer=bytes, response_deserializer=parse)
    names: list[str] = []
    async for reply in rpc(iter([ask]), metadata=metadata, timeout=10):
        names += [service.name for service in reply.list_services_response.service]
    return names


@pytest.mark.parametrize("method", REFLECT)
async def test_a12_03_reflection_off(connect: Callable[..., Any], method: str) -> None:
    async with connect() as channel:
        # Nothing is sent: the client's library loses a refusal that a message crosses.
        rpc = channel.stream_stream(method)
        assert await rpc(timeout=10).code() is grpc.StatusCode.UNAUTHENTICATED
        known = rpc(metadata=metadata_for(good()), timeout=10)
        assert await known.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a12_03_reflection_on_is_open(connect: Callable[..., Any]) -> None:
    async with connect(reflecting=True) as channel:
        assert "S" in await listed(channel, REFLECT[1], ())


@pytest.mark.parametrize(
    "method",
    [
        "/grpc.health.v1.Health2/Check",
        "/x.grpc.health.v1.Health/Check",
        "/S/grpc.health.v1.Health/Check",
    ],
)
async def test_what_only_looks_like_health_is_closed(
    connect: Callable[..., Any], method: str
) -> None:
    async with connect() as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await channel.unary_unary(method)(b"", timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_without_any_key_the_service_is_unavailable(connect: Callable[..., Any]) -> None:
    class NoKeys:
        async def keys(self, kid: str | None) -> tuple[VerificationKey, ...]:
            raise Unavailable(f"No key, not even {kid}")

    async with connect(NoKeys()) as channel:
        code, _ = await refusal(channel, "stream_stream", metadata_for(good()))
    assert code is grpc.StatusCode.UNAVAILABLE


def test_metadata_of_bytes_and_repeated_keys() -> None:
    found = headers_of(
        (
            ("authorization", b"Bearer x"),
            ("x-gitlab-realm", "saas"),
            ("x-gitlab-realm", "self-managed"),
            ("x-gitlab-thing-bin", b"\x00"),
            ("cookie", "secret"),
        )
    )
    assert found == {"x-gitlab-realm": "saas"}
    assert headers_of(None) == {}


def test_a_context_that_nobody_authenticated_is_an_error() -> None:
    with pytest.raises(TypeError):
        caller_of(object())
