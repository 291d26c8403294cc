"""The TokenStore and FlagStore ports, on each kind of database."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest

from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.flags import ACTORS_LIMIT, SqlFlagStore
from isthmus.adapters.stores.tokens import SqlTokenStore
from isthmus.core.accounts import NewToken, Token, TokenKind
from isthmus.core.errors import Conflict, Invalid, NotFound, Rejected
from isthmus.core.flags import STICKINESS, Flag
from tests.support.clock import HandClock

ALL_KINDS = frozenset(TokenKind)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def tokens(database: Database, clock: HandClock) -> SqlTokenStore:
    return SqlTokenStore(database, clock)


@pytest.fixture
def flags(database: Database) -> SqlFlagStore:
    return SqlFlagStore(database)


def digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def new(
    text: str, kind: TokenKind = TokenKind.PERSONAL, *, user_id: int | None = 1, **details: str
) -> NewToken:
    return NewToken(kind, digest(text), user_id, frozenset({"api"}), details=details)


async def test_a_token_comes_back_as_it_was_kept(tokens: SqlTokenStore, clock: HandClock) -> None:
    ends = clock.utc() + timedelta(hours=2)
    details = {"redirect_uri": "http://127.0.0.1:1/ü", "challenge": "'\"\\"}
    scopes = frozenset({"mcp", "ai_workflows"})
    given = NewToken(TokenKind.CODE, digest("a"), 1, scopes, "laptop", "client", ends, details)
    kept = await tokens.add(given)
    assert kept == Token(
        kept.id, TokenKind.CODE, 1, scopes, "laptop", "client", clock.utc(), ends, None, details
    )
    assert await tokens.find(digest("a"), ALL_KINDS) == kept
    assert await tokens.find(digest("a"), frozenset({TokenKind.PERSONAL})) is None
    assert await tokens.find(digest("b"), ALL_KINDS) is None
    with pytest.raises(Conflict):
        await tokens.add(given)
    for unfit in (
        replace(given, digest=b"short"),
        replace(given, name="n" * 256),
        replace(given, details={"k": "v" * 20_000}),
        replace(given, details={"k": "\ud800"}),
        replace(given, details={str(number): "v" * 900 for number in range(20)}),
    ):
        with pytest.raises(Invalid):
            await tokens.add(unfit)


async def test_of_many_who_take_a_token_one_gets_it(tokens: SqlTokenStore) -> None:
    kept = await tokens.add(new("a", TokenKind.REFRESH))
    assert await tokens.take(digest("a"), TokenKind.CODE) is None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tokens.take(digest("a"), TokenKind.REFRESH)) for _ in range(20)]
    assert [task.result() for task in tasks if task.result() is not None] == [kept]
    found = await tokens.find(digest("a"), ALL_KINDS)
    assert found is not None
    assert found.revoked_at is not None


async def test_a_revoked_token_is_told_so_and_listed_no_more(
    tokens: SqlTokenStore, clock: HandClock
) -> None:
    one, two = await tokens.add(new("a")), await tokens.add(new("b"))
    await tokens.add(new("c", user_id=2))
    await tokens.add(new("d", TokenKind.FLOW))
    assert await tokens.all(1, TokenKind.PERSONAL) == [one, two]
    at = clock.utc()
    for _ in range(2):
        await tokens.revoke(one.id)
        clock.advance(1)
    found = await tokens.find(digest("a"), ALL_KINDS)
    assert found == replace(one, revoked_at=at)
    assert await tokens.all(1, TokenKind.PERSONAL) == [two]
    await tokens.revoke(2**70)


async def test_a_device_waits_for_one_user(tokens: SqlTokenStore, clock: HandClock) -> None:
    kept = await tokens.add(new("a", TokenKind.DEVICE, user_id=None, user_code="ABCD-EFGH"))
    await tokens.add(new("b", TokenKind.CODE, user_id=None, user_code="IJKL-MNOP"))
    assert kept.user_id is None
    assert await tokens.pending("ABCD-EFGH") == kept
    for unknown in ("", "abcd-efgh", "IJKL-MNOP", "%"):
        assert await tokens.pending(unknown) is None

    async def attempt(user_id: int) -> bool:
        try:
            await tokens.approve(kept.id, user_id)
        except NotFound:
            return False
        return True

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(user_id)) for user_id in range(1, 11)]
    (winner,) = [number for number, task in enumerate(tasks, 1) if task.result()]
    found = await tokens.find(digest("a"), ALL_KINDS)
    assert found == replace(kept, user_id=winner)
    assert await tokens.pending("ABCD-EFGH") is None
    with pytest.raises(NotFound):
        await tokens.approve(404, 1)
    late = replace(new("c", TokenKind.DEVICE, user_id=None, user_code="X"), expires_at=clock.utc())
    expired = await tokens.add(late)
    assert await tokens.pending("X") is None
    assert not await attempt(expired.id)


async def test_tokens_that_expired_long_ago_are_forgotten(
    tokens: SqlTokenStore, clock: HandClock
) -> None:
    await tokens.add(replace(new("a"), expires_at=clock.utc() + timedelta(days=1)))
    await tokens.add(new("forever"))
    clock.advance(30 * 86_400)
    await tokens.add(new("b"))
    assert await tokens.find(digest("a"), ALL_KINDS) is not None
    clock.advance(86_400 + 1)
    await tokens.add(new("c"))
    assert await tokens.find(digest("a"), ALL_KINDS) is None
    assert await tokens.find(digest("forever"), ALL_KINDS) is not None


async def test_a_flag_is_kept_once_it_was_set(flags: SqlFlagStore) -> None:
    assert await flags.all() == {}
    seen: list[Flag] = []

    def apply(flag: Flag) -> Flag:
        seen.append(flag)
        return replace(flag, namespaces=frozenset({4, 2}), users=frozenset({2**53}))

    changed = await flags.change(STICKINESS, apply)
    assert seen == [Flag(STICKINESS)]
    assert changed == Flag(STICKINESS, namespaces=frozenset({2, 4}), users=frozenset({2**53}))
    on = await flags.change("duo_workflow", lambda flag: replace(flag, default=not flag.default))
    assert not on.default
    assert await flags.all() == {STICKINESS: changed, "duo_workflow": on}
    with pytest.raises(Invalid):
        await flags.change("nobody_reads_it", lambda flag: flag)


async def test_a_flag_whose_change_raises_was_not_set(flags: SqlFlagStore) -> None:
    def refuse(flag: Flag) -> Flag:
        raise Rejected(flag.name)

    with pytest.raises(Rejected):
        await flags.change(STICKINESS, refuse)
    many = frozenset(range(ACTORS_LIMIT + 1))
    with pytest.raises(Invalid):
        await flags.change(STICKINESS, lambda flag: replace(flag, users=many))
    assert await flags.all() == {}


async def test_of_many_changes_of_a_flag_none_is_lost(flags: SqlFlagStore) -> None:
    async with asyncio.TaskGroup() as group:
        for user_id in range(20):
            group.create_task(
                flags.change(
                    STICKINESS,
                    lambda flag, user_id=user_id: replace(flag, users=flag.users | {user_id}),
                )
            )
    assert (await flags.all())[STICKINESS].users == frozenset(range(20))
