"""`GET /api/v4/isthmus/usage`, for administrators alone."""

from dataclasses import replace
from typing import Any

import pytest

from isthmus.core.accounts import TokenKind
from isthmus.core.usage import BUCKETS, Tally, UsageBatch, UsageKey, UsageRow
from tests.support.instance_stand import InstanceStand

PATH = "/api/v4/isthmus/usage"
NOW_HOUR = 490_896
"""That of the stand's clock: 2026-01-01T00:00Z."""


def histogram(index: int, count: int) -> tuple[int, ...]:
    return tuple(count if each == index else 0 for each in range(BUCKETS))


ROWS = (
    UsageRow(
        UsageKey(NOW_HOUR, user="alice", model="claude", language="go", outcome="ok"),
        Tally(
            4,
            0,
            400,
            40,
            100,
            20,
            7,
            1_234_567,
            1,
            800_000,
            4,
            100_000,
            10,
            4,
            latency=histogram(9, 4),
        ),
    ),
    UsageRow(
        UsageKey(NOW_HOUR - 25, user="bob", model="gpt", outcome="other"),
        Tally(2, 2, latency=histogram(0, 2)),
    ),
    UsageRow(UsageKey(NOW_HOUR - 24 * 40, user="bob", model="gpt"), Tally(9)),
)


@pytest.fixture(name="admin")
async def _admin(stand: InstanceStand) -> InstanceStand:
    """The stand with Alice as an administrator, and some usage."""
    user = stand.alice.user.id
    await stand.stores.users.change(user, lambda found: replace(found, admin=True))
    await stand.stores.usage.add(UsageBatch("1", ROWS))
    return stand


async def asked(stand: InstanceStand, query: str) -> list[dict[str, Any]]:
    async with stand.client() as http:
        reply = await http.get(PATH + query)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_figures_are_told_by_what_is_asked_for(admin: InstanceStand) -> None:
    first, second = await asked(admin, "?by=user,model")
    assert first == {
        "by": {"user": "alice", "model": "claude"},
        "requests": 4,
        "errors": 0,
        "input_tokens": 400,
        "output_tokens": 40,
        "cache_read_tokens": 100,
        "cache_write_tokens": 20,
        "reasoning_tokens": 7,
        "cost_usd": 1.234567,
        "unpriced": 1,
        "latency_ms": {"mean": 200.0, "p50": 133.4, "p95": 172.8, "first_byte": 25.0},
        "suggestions": {
            "shown": 10,
            "accepted": 4,
            "rejected": 0,
            "failed": 0,
            "acceptance_rate": 0.4,
        },
    }
    assert (second["by"], second["requests"]) == ({"user": "bob", "model": "gpt"}, 2)
    assert second["suggestions"]["acceptance_rate"] is None


Groups = list[tuple[dict[str, str], int]]
TIMES: list[tuple[str, Groups]] = [
    ("", [({}, 6)]),
    ("?since=60d", [({}, 15)]),
    ("?since=2025-12-01&until=2025-12-31", [({}, 2)]),
    ("?since=1h", [({}, 4)]),
    ("?until=2026-01-01T00:00:00Z", [({}, 2)]),
    ("?until=2026-01-01T02:00:01%2B02:00", [({}, 6)]),
    ("?by=day", [({"day": "2025-12-30"}, 2), ({"day": "2026-01-01"}, 4)]),
    ("?by=hour&user=alice", [({"hour": "2026-01-01T00:00:00Z"}, 4)]),
    ("?by=language&user=bob&model=gpt", [({"language": ""}, 2)]),
    ("?language=&by=user", [({"user": "bob"}, 2)]),
    ("?user=nobody", []),
]


@pytest.mark.parametrize(("query", "told"), TIMES)
async def test_times_groups_and_values(admin: InstanceStand, query: str, told: Groups) -> None:
    assert [(each["by"], each["requests"]) for each in await asked(admin, query)] == told


async def test_groups_come_in_pages(admin: InstanceStand) -> None:
    async with admin.client() as http:
        reply = await http.get(f"{PATH}?by=user&per_page=1&page=2")
    assert [each["by"] for each in reply.json()] == [{"user": "bob"}]
    assert (reply.headers["x-total"], reply.headers["x-prev-page"]) == ("2", "1")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?by=prompt", "by does not have a valid value"),
        ("?by=digest", "by does not have a valid value"),
        ("?since=yesterday", "since does not have a valid value"),
        ("?until=0d", "until does not have a valid value"),
        ("?since=100000w", "since does not have a valid value"),
        ("?page=0", "page does not have a valid value"),
        ("?per_page=x", "per_page is invalid"),
    ],
)
async def test_bad_questions_are_refused_by_name(
    admin: InstanceStand, query: str, told: str
) -> None:
    async with admin.client() as http:
        reply = await http.get(PATH + query)
    assert (reply.status_code, reply.json()) == (400, {"error": told})


async def test_it_is_for_administrators_with_the_scope_alone(admin: InstanceStand) -> None:
    async with admin.client(admin.bob) as http:
        reply = await http.get(PATH)
    assert reply.status_code == 403
    assert reply.json() == {"message": "403 Forbidden - Usage is for administrators."}
    narrow = await admin.token(admin.alice, TokenKind.PERSONAL, "ai_features")
    async with admin.client() as http:
        assert (await http.get(PATH, headers=narrow)).status_code == 403
        assert (await http.get(PATH, headers={"authorization": "Bearer x"})).status_code == 401
