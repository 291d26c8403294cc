"""Calls that bring their own server: which key goes where, and in which words."""

import pytest
from msgspec.structs import replace

from isthmus.adapters.outbound.client import HttpClient, open_client
from isthmus.adapters.providers import anthropic, azure, fireworks, mistral, openai
from isthmus.adapters.providers._load import load_providers
from isthmus.core.errors import MisconfiguredProvider, Rejected, UpstreamFailed
from isthmus.core.messages import (
    Chat,
    Infill,
    Message,
    ModelCall,
    Target,
    Text,
    Tuning,
    collect,
)
from isthmus.core.ports import ModelProvider, Outbound
from isthmus.settings import OutboundSettings, ProvidersSettings
from tests.contract.outbound.rawserver import RealClock, within
from tests.support.replay import KEY, Api, replaying

CALL = ModelCall("m", Chat((Message("user", (Text("Hi"),)),)), 64)
INFILL = ModelCall("m", Infill("a = ", "\n"), 64)
MODULES = {
    "anthropic": anthropic,
    "openai": openai,
    "azure": azure,
    "mistral": mistral,
    "fireworks": fireworks,
}
APIS: list[Api] = ["anthropic", "openai", "azure", "mistral", "fireworks"]


def built(api: Api, outbound: Outbound, **settings: str) -> ModelProvider:
    tree = ProvidersSettings.model_validate({api: settings})
    return MODULES[api].build(tree, outbound, RealClock(), OutboundSettings(retries=0))


@pytest.mark.parametrize("api", APIS)
async def test_our_key_never_goes_to_a_callers_server(api: Api) -> None:
    async with (
        replaying(api, key="") as theirs,
        replaying(api) as ours,
        open_client(OutboundSettings(), RealClock()) as outbound,
    ):
        door = built(api, outbound, api_key=KEY, base_url=ours.base_url)
        await collect(door.stream(replace(CALL, target=Target(theirs.base_url)), within()))
        await collect(door.stream(replace(CALL, target=Target(theirs.base_url, "own")), within()))
        assert KEY not in repr(theirs.requests[0])
        assert "own" in repr(theirs.requests[1].headers)
        assert KEY not in repr(theirs.requests[1])
        await collect(door.stream(replace(CALL, target=Target(ours.base_url)), within()))
        assert KEY in repr(ours.requests[0].headers), "a target that is our own server"


@pytest.mark.parametrize("api", APIS)
async def test_without_a_key_only_targets_are_served(api: Api) -> None:
    async with (
        replaying(api, key="own") as theirs,
        open_client(OutboundSettings(), RealClock()) as outbound,
    ):
        door = built(api, outbound)
        assert not door.configured
        with pytest.raises(MisconfiguredProvider):
            await collect(door.stream(CALL, within()))
        target = Target(theirs.base_url, "own")
        assert (await collect(door.stream(replace(CALL, target=target), within()))).text


def test_every_provider_can_serve_a_target() -> None:
    outbound = HttpClient(OutboundSettings(), RealClock())
    loaded = load_providers(ProvidersSettings(), outbound, RealClock(), OutboundSettings())
    assert {*APIS, "bedrock"} <= loaded.keys()


async def test_a_compatible_server_is_not_spoken_to_as_openai() -> None:
    tuning = Tuning(effort="low", summary="auto", verbosity="low", top_k=5)
    async with (
        replaying("openai", key="") as theirs,
        open_client(OutboundSettings(), RealClock()) as outbound,
    ):
        door = built("openai", outbound, api_key=KEY)
        target = Target(theirs.base_url, "dummy_key")
        await collect(door.stream(replace(CALL, target=target, tuning=tuning), within()))
        asked = theirs.requests[0]
        assert asked.path == "/v1/chat/completions"
        body = asked.json()
        assert body["reasoning_effort"] == "low"
        assert body["top_k"] == 5
        assert body["max_tokens"] == 64
        assert "verbosity" not in body
        with pytest.raises(Rejected):
            await collect(door.stream(replace(CALL, model="", target=target), within()))


async def test_a_server_that_cannot_fill_in_is_remembered_alone() -> None:
    async with (
        replaying("openai", key="") as poor,
        replaying("openai", key="") as rich,
        open_client(OutboundSettings(), RealClock()) as outbound,
    ):
        door = built("openai", outbound, api_key=KEY)
        for server in (poor, rich, poor):
            if server is poor and not poor.requests:
                poor.play("too_long")
            target = Target(server.base_url, "k")
            await collect(door.stream(replace(INFILL, target=target), within()))
        assert [asked.path for asked in poor.requests] == [
            "/v1/completions",
            "/v1/chat/completions",
            "/v1/chat/completions",
        ]
        assert [asked.path for asked in rich.requests] == ["/v1/completions"]


async def test_a_template_is_never_put_to_a_chat() -> None:
    tuning = Tuning(fim_format="<PRE>{prefix}<SUF>{suffix}<MID>")
    async with (
        replaying("openai", key="") as server,
        open_client(OutboundSettings(), RealClock()) as outbound,
    ):
        door = built("openai", outbound, base_url=server.base_url)
        server.play("too_long")
        with pytest.raises(UpstreamFailed):
            await collect(door.stream(replace(INFILL, tuning=tuning), within()))
        await collect(door.stream(replace(INFILL, tuning=tuning), within()))
        assert [asked.path for asked in server.requests] == ["/v1/completions"] * 2
        assert server.requests[0].json()["prompt"] == "<PRE>a = <SUF>\n<MID>"
        assert "suffix" not in server.requests[0].json()


async def test_headers_of_the_call_go_with_it() -> None:
    tuning = Tuning(headers=(("x-session-affinity", "s1"), ("accept", "text/plain")))
    async with (
        replaying("fireworks") as server,
        open_client(OutboundSettings(), RealClock()) as outbound,
    ):
        door = built("fireworks", outbound, api_key=KEY, base_url=server.base_url)
        await collect(door.stream(replace(CALL, tuning=tuning), within()))
        asked = server.requests[0]
        assert asked.headers["x-session-affinity"] == "s1"
        assert asked.headers["accept"] == "text/plain"
        assert asked.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("base_url", "vendors"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://evilapi.openai.com.test/v1", False),
        ("https://notapi.openai.com/v1", False),
        ("http://127.0.0.1:8000/v1", False),
        ("http://[", False),
    ],
)
def test_whose_api_it_is(base_url: str, *, vendors: bool) -> None:
    assert openai.is_vendors(base_url) is vendors
