"""One behaviour for every way to have keys: from settings, and from an issuer."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from isthmus.adapters.keysets.jwks import Fetching
from isthmus.adapters.keysets.merged import MergedKeys, open_keys
from isthmus.core.errors import Unavailable
from isthmus.core.ports import KeySet, VerificationKey
from tests.support.clock import HandClock
from tests.support.issuer import FakeIssuers
from tests.support.sink import MemorySink
from tests.support.tokens import jwk_of, private_key, public_of

BASE = "https://issuer.example.test"
NAMES = ("one", "two")


@asynccontextmanager
async def key_set(kind: str, names: tuple[str, ...]) -> AsyncIterator[KeySet]:
    fixed = [public_of(private_key(name), name) for name in names]
    published = [jwk_of(private_key(name), name) for name in names]
    if kind == "static":
        yield MergedKeys(fixed)
        return
    issuers = FakeIssuers()
    fetching = Fetching(issuers, HandClock(), MemorySink())
    issuers.publish(BASE, published[1:] if kind == "both" else published)
    async with open_keys(fixed[:1] if kind == "both" else (), (BASE,), fetching) as keys:
        yield keys


@pytest.fixture(params=["static", "jwks", "both"])
async def keys(request: pytest.FixtureRequest) -> AsyncIterator[KeySet]:
    async with key_set(request.param, NAMES) as made:
        yield made


def kids(found: Sequence[VerificationKey]) -> list[str]:
    return [key.kid for key in found]


async def test_the_named_key_comes_first_and_the_others_follow(keys: KeySet) -> None:
    assert kids(await keys.keys("one")) == ["one", "two"]
    assert kids(await keys.keys("two")) == ["two", "one"]


async def test_an_unknown_name_gives_every_key(keys: KeySet) -> None:
    for kid in ("three", "", "../../etc/passwd", "https://evil.test/keys", "x" * 10_000):
        assert sorted(kids(await keys.keys(kid))) == ["one", "two"]


async def test_no_name_gives_every_key(keys: KeySet) -> None:
    assert sorted(kids(await keys.keys(None))) == ["one", "two"]


async def test_the_numbers_are_those_that_were_published(keys: KeySet) -> None:
    found = await keys.keys("one")
    assert found[0] == public_of(private_key("one"), "one")


@pytest.mark.parametrize("kind", ["static", "jwks"])
async def test_without_any_key_it_is_unavailable(kind: str) -> None:
    async with key_set(kind, ()) as empty:
        for kid in (None, "one"):
            with pytest.raises(Unavailable):
                await empty.keys(kid)
