"""Issuers over time: when they are called, and what survives when they are not there."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from isthmus.adapters.keysets.jwks import ANSWER_LIMIT_BYTES, Fetching, Issuer
from isthmus.adapters.keysets.merged import (
    MergedKeys,
    gateway_issuers,
    open_keys,
    platform_issuers,
)
from isthmus.core.errors import Unavailable
from isthmus.core.events import Fact, KeysRefreshed
from isthmus.core.ports import VerificationKey
from isthmus.settings import AuthSettings
from tests.support.clock import HandClock
from tests.support.issuer import DISCOVERY, FakeIssuers
from tests.support.sink import MemorySink
from tests.support.tokens import jwk_of, private_key, public_of

BASE = "https://issuer.example.test"
OTHER = "https://portal.example.test"
OLD, NEW = jwk_of(private_key("old"), "old"), jwk_of(private_key("new"), "new")
FIXED = public_of(private_key("fixed"), "fixed")


class WaitingSink(MemorySink):
    """Lets a test wait until so many fetches have ended."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def emit(self, fact: Fact) -> None:
        super().emit(fact)
        self._more.set()

    async def refreshed(self, times: int) -> None:
        async with asyncio.timeout(5):
            while len(self.of(KeysRefreshed)) < times:
                self._more.clear()
                await self._more.wait()


class Bench:
    """Issuers and what is around them."""

    def __init__(self, max_age_s: float = 86_400.0) -> None:
        self.issuers = FakeIssuers()
        self.clock = HandClock()
        self.sink = WaitingSink()
        self.fetching = Fetching(self.issuers, self.clock, self.sink, max_age_s, 10.0)

    @asynccontextmanager
    async def open(
        self, *bases: str, fixed: Sequence[VerificationKey] = ()
    ) -> AsyncIterator[MergedKeys]:
        async with open_keys(fixed, bases or (BASE,), self.fetching) as keys:
            yield keys

    def refreshed(self) -> list[KeysRefreshed]:
        return self.sink.of(KeysRefreshed)


async def kids(keys: MergedKeys, kid: str | None) -> list[str]:
    return [key.kid for key in await keys.keys(kid)]


async def test_discovery_then_keys_and_a_fact() -> None:
    bench = Bench()
    bench.issuers.publish(BASE, [OLD], "https://cdn.example.test/k?v=1")
    async with bench.open() as keys:
        assert await kids(keys, "old") == ["old"]
    assert bench.issuers.calls == [BASE + DISCOVERY, "https://cdn.example.test/k?v=1"]
    assert bench.refreshed() == [KeysRefreshed(BASE, 1)]
    assert all(d.at_s == bench.clock.now_s() + 10.0 for d in bench.issuers.deadlines)
    assert all(("accept-encoding", "identity") in r.headers for r in bench.issuers.requests)


async def test_a_relative_url_root_is_kept() -> None:
    bench = Bench()
    bench.issuers.publish(f"{BASE}/gitlab", [OLD])
    async with bench.open(f"{BASE}/gitlab/") as keys:
        assert await kids(keys, "old") == ["old"]


async def test_opening_waits_for_nobody() -> None:
    bench = Bench()
    bench.issuers.gate.clear()
    async with bench.open(fixed=[FIXED]) as keys:
        assert await kids(keys, "fixed") == ["fixed"]


async def test_callers_at_start_share_one_fetch_and_may_leave() -> None:
    bench = Bench()
    bench.issuers.publish(BASE, [OLD])
    bench.issuers.gate.clear()
    async with bench.open() as keys, asyncio.TaskGroup() as group:
        waiting = [group.create_task(kids(keys, kid)) for kid in ("old", "new", None)]
        leaver = group.create_task(kids(keys, "old"))
        for _ in range(5):
            await asyncio.sleep(0)
        leaver.cancel()
        bench.issuers.gate.set()
        for task in waiting:
            assert await task == ["old"]
    assert len(bench.issuers.calls) == 2


async def test_an_unknown_key_id_refreshes_at_most_once_a_minute() -> None:
    bench = Bench()
    bench.issuers.publish(BASE, [OLD])
    async with bench.open() as keys:
        await keys.keys("old")
        bench.issuers.publish(BASE, [OLD, NEW])
        assert await kids(keys, "new") == ["old"]
        bench.clock.advance(59)
        assert await kids(keys, "new") == ["old"]
        assert len(bench.issuers.calls) == 2
        bench.clock.advance(1)
        assert await kids(keys, "new") == ["new", "old"]
        assert len(bench.issuers.calls) == 4
        for number in range(50):
            assert len(await kids(keys, f"junk-{number}")) == 2
        assert len(bench.issuers.calls) == 4
        bench.clock.advance(60)
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(kids(keys, f"junk-{number}"))
        assert len(bench.issuers.calls) == 6


async def test_a_known_key_id_and_none_never_refresh() -> None:
    bench = Bench()
    bench.issuers.publish(BASE, [OLD])
    async with bench.open(fixed=[FIXED]) as keys:
        await keys.keys("old")
        bench.clock.advance(3600)
        for kid in ("old", "fixed", None):
            await keys.keys(kid)
    assert len(bench.issuers.calls) == 2


async def test_a_dead_issuer_does_not_disturb_the_other() -> None:
    bench = Bench()
    bench.issuers.publish(OTHER, [NEW])
    async with bench.open(BASE, OTHER) as keys:
        assert await kids(keys, "new") == ["new"]
        await bench.sink.refreshed(2)
    failed = next(fact for fact in bench.refreshed() if fact.issuer == BASE)
    assert (failed.keys, bool(failed.error)) == (0, True)


async def test_keys_stay_in_use_while_the_issuer_is_down_but_not_for_ever() -> None:
    bench = Bench(max_age_s=1000.0)
    bench.issuers.publish(BASE, [OLD])
    async with bench.open() as keys:
        await keys.keys("old")
        bench.issuers.down = True
        bench.clock.advance(3000)
        assert await kids(keys, "new") == ["old"]
        assert bench.refreshed()[-1].keys == 1
        assert bench.refreshed()[-1].error
        bench.clock.advance(4001)
        with pytest.raises(Unavailable):
            await keys.keys("old")
        bench.issuers.down = False
        bench.clock.advance(60)
        assert await kids(keys, "old") == ["old"]


async def test_a_key_that_was_withdrawn_is_gone_after_a_refresh() -> None:
    bench = Bench()
    bench.issuers.publish(BASE, [OLD])
    async with bench.open() as keys:
        await keys.keys("old")
        bench.issuers.publish(BASE, [NEW])
        bench.clock.advance(60)
        assert await kids(keys, "new") == ["new"]


async def test_keys_are_refreshed_in_the_background_before_they_are_old() -> None:
    bench = Bench(max_age_s=0.02)
    bench.issuers.publish(BASE, [OLD])
    async with bench.open():
        await bench.sink.refreshed(3)
    ended = len(bench.issuers.calls)
    await asyncio.sleep(0.05)
    assert len(bench.issuers.calls) == ended


async def test_failures_are_tried_again_ever_more_slowly() -> None:
    bench = Bench()
    source = Issuer(BASE, bench.fetching)
    assert source.pause_s() == pytest.approx(0.8 * 86_400)
    pauses: list[float] = []
    task = asyncio.ensure_future(source.run())
    for times in range(1, 10):
        await bench.sink.refreshed(times)
        pauses.append(source.pause_s())
        bench.clock.advance(60)
        await source.seek()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert pauses[:4] == [5, 10, 20, 40]
    assert pauses[-1] == 300


async def test_whoever_waits_is_let_go_when_the_set_closes() -> None:
    bench = Bench()
    bench.issuers.gate.clear()
    async with bench.open() as keys:
        waiter = asyncio.ensure_future(keys.keys("old"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiter.done()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(waiter, 5)


async def test_what_the_user_raises_leaves_unwrapped() -> None:
    bench = Bench()
    bench.issuers.publish(BASE, [OLD])
    with pytest.raises(KeyError):
        async with bench.open():
            raise KeyError("x")


@pytest.mark.parametrize(
    "answer",
    [
        (404, b"{}"),
        (301, b""),
        (200, b""),
        (200, b"[]"),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b'{"jwks_uri":1}'),
        (200, b'{"jwks_uri":"file:///etc/passwd"}'),
        (200, b'{"jwks_uri":"/keys"}'),
        (200, b'{"jwks_uri":"https://"}'),
        (200, b'{"jwks_uri":"https://user:secret@host/keys"}'),
        (200, b'{"jwks_uri":"http://issuer.example.test/keys"}'),
        (200, b'{"jwks_uri":"https://host:99999/keys"}'),
        (200, b'{"jwks_uri":"https://[/keys"}'),
        (200, b'{"jwks_uri":"https://h/a b"}'),
        (200, b'{"jwks_uri":"https://h/\\r\\nX: y"}'),
        (200, b'{"jwks_uri":"https://h/' + b"x" * 3000 + b'"}'),
        (200, b'{"jwks_uri":"https://a/","jwks_uri":"https://b/"}'),
        (200, b"[" * 100_000),
        (200, b" " * (ANSWER_LIMIT_BYTES + 1)),
    ],
)
async def test_a_bad_discovery_document_gives_no_keys(answer: tuple[int, bytes]) -> None:
    bench = Bench()
    bench.issuers.answers[BASE + DISCOVERY] = answer
    async with bench.open(fixed=[FIXED]) as keys:
        assert await kids(keys, "old") == ["fixed"]
    assert bench.issuers.calls == [BASE + DISCOVERY]
    assert bench.refreshed()[0].error
    assert "secret" not in bench.refreshed()[0].error


@pytest.mark.parametrize(
    "body", [b"{}", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":[1,null,"x",[]]}', b"no"]
)
async def test_a_bad_key_set_keeps_the_old_keys(body: bytes) -> None:
    bench = Bench()
    bench.issuers.publish(BASE, [OLD])
    async with bench.open() as keys:
        await keys.keys("old")
        bench.issuers.answers[f"{BASE}/keys"] = (200, body)
        bench.clock.advance(60)
        assert await kids(keys, "new") == ["old"]
    assert bench.refreshed()[-1].error


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gitlab.example.test",
        "ftp://x",
        "file:///etc",
        "https://u:p@x",
        "https://",
        "https://x?y=1",
        "https://x#y",
        "https://x y",
        "https://é.test",
        "https://x:0",
        "https://" + "x" * 3000,
    ],
)
async def test_an_issuer_must_be_a_plain_url(url: str) -> None:
    with pytest.raises(ValueError, match="issuer"):
        async with Bench().open(url):
            pass


async def test_the_same_issuer_is_called_once() -> None:
    bench = Bench()
    bench.issuers.publish(BASE, [OLD])
    async with bench.open(BASE, BASE) as keys:
        assert await kids(keys, "old") == ["old"]
    assert len(bench.issuers.calls) == 2


def test_which_issuers_a_listener_trusts() -> None:
    assert gateway_issuers(AuthSettings()) == ()
    assert platform_issuers(AuthSettings()) == ()
    settings = AuthSettings(
        gitlab_url="https://a/", customer_portal_url=" ", issuers=("https://c", "https://a")
    )
    assert gateway_issuers(settings) == ("https://a", "https://c")
    assert platform_issuers(settings) == ("https://a", "https://c")
    settings = AuthSettings(
        gitlab_url="https://a", platform_gitlab_url="https://p", customer_portal_url="https://k"
    )
    assert gateway_issuers(settings) == ("https://a", "https://k")
    assert platform_issuers(settings) == ("https://p", "https://k")
