"""Which limits a call must keep, and what a stream may spend of them."""

from typing import TypedDict

import pytest

from isthmus.adapters.limits.inprocess import InProcessLimiter
from isthmus.core.errors import LimitExceeded
from isthmus.core.events import LimitMet
from isthmus.core.identity import NOBODY, Who
from isthmus.core.messages import Usage
from isthmus.core.notes import NOTES, Notes
from isthmus.routing.catalogue import Prices
from isthmus.routing.quota import STEP_MOST_TOKENS, STEP_TOKENS, Estimate, Quotas, estimated
from isthmus.settings_limits import LimitsSettings
from tests.support.clock import HandClock
from tests.support.sink import MemorySink

ANN = Who(instance="i-1", namespace="42", user="ann", token="t-1")
BOB = Who(instance="i-1", namespace="42", user="bob", token="t-2")
SMALL = Estimate(0, 0)
PRICES = Prices(input=3, output=15)


class Other(TypedDict, total=False):
    """What another call differs in."""

    who: Who
    feature: str
    model: str


class Stand:
    """Quotas over rules, in memory."""

    def __init__(self, *rules: dict[str, object], match: str = "all") -> None:
        settings = LimitsSettings.model_validate({"rules": rules, "match": match})
        self.clock = HandClock()
        self.sink = MemorySink()
        self.quotas = Quotas(settings, InProcessLimiter(self.clock), self.sink)

    async def call(
        self,
        who: Who = ANN,
        feature: str = "chat",
        model: str = "sonnet",
        estimate: Estimate = SMALL,
    ) -> bool:
        """One call that uses what was estimated; whether it may."""
        try:
            spending = await self.quotas.reserve(who, feature, model, "anthropic", estimate)
        except LimitExceeded:
            return False
        if spending is not None:
            spending.settle(Usage(estimate.input_tokens, estimate.output_tokens))
        return True

    def met(self) -> list[tuple[str, str]]:
        return [(fact.rule, fact.mode) for fact in self.sink.of(LimitMet)]


def rule(name: str, amount: float, **more: object) -> dict[str, object]:
    return {"name": name, "amount": amount, "window": "minute"} | more


async def test_without_a_rule_that_fits_nothing_is_counted() -> None:
    stand = Stand(rule("vertex", 1, where={"provider": "vertex"}))
    assert await stand.quotas.reserve(ANN, "chat", "sonnet", "anthropic", SMALL) is None
    assert await Stand().quotas.reserve(ANN, "chat", "sonnet", "anthropic", SMALL) is None


@pytest.mark.parametrize(
    ("by", "others"),
    [
        ([], ()),
        (["user"], ({"who": BOB},)),
        (["namespace"], ()),
        (["instance", "user"], ({"who": BOB},)),
        (["token"], ({"who": BOB},)),
        (["feature"], ({"feature": "code"},)),
        (["model", "user"], ({"model": "haiku"}, {"who": BOB})),
        (["provider"], ()),
    ],
)
async def test_a_rule_counts_by_what_it_names(by: list[str], others: tuple[Other, ...]) -> None:
    stand = Stand(rule("two", 2, by=by))
    assert [await stand.call() for _ in range(3)] == [True, True, False]
    for other in others:
        assert await stand.call(**other)
    if not others:
        assert not await stand.call(who=BOB)


async def test_a_caller_of_whom_nothing_is_known_has_one_counter() -> None:
    stand = Stand(rule("one", 1, by="user"))
    assert await stand.call(NOBODY)
    assert not await stand.call(Who(token="x"))


async def test_where_says_for_which_calls() -> None:
    stand = Stand(rule("one", 1, where={"user": ["ann", "eve"], "feature": "chat"}))
    assert await stand.call()
    assert not await stand.call()
    assert await stand.call(BOB)
    assert await stand.call(feature="code")


async def test_of_one_thing_the_first_rule_may_be_the_only_one() -> None:
    rules = (
        rule("vip", 3, by="user", where={"user": "ann"}),
        rule("all", 1, by="user"),
        rule("tokens", 100, counts="tokens"),
    )
    stand = Stand(*rules, match="first")
    assert [await stand.call() for _ in range(4)] == [True, True, True, False]
    assert [await stand.call(BOB) for _ in range(2)] == [True, False]
    # Tokens are another thing.
    assert not await stand.call(Who(user="eve"), estimate=Estimate(101, 0))
    assert [await Stand(*rules).call() for _ in range(1)] == [True]
    every = Stand(*rules)
    assert [await every.call() for _ in range(2)] == [True, False]


def _tightest(notes: Notes) -> tuple[str, int]:
    assert notes.limits is not None
    return notes.limits.tightest.rule, notes.limits.tightest.remaining


async def test_a_refusal_is_told_and_noted() -> None:
    stand = Stand(rule("one", 1))
    notes = Notes()
    token = NOTES.set(notes)
    try:
        await stand.call()
        assert _tightest(notes) == ("one", 0)
        notes.limits = None
        with pytest.raises(LimitExceeded, match="'one'"):
            await stand.quotas.reserve(ANN, "chat", "sonnet", "anthropic", SMALL)
        assert _tightest(notes) == ("one", 0)
    finally:
        NOTES.reset(token)
    assert stand.sink.facts == [LimitMet("one", "requests", "enforce", ANN, "chat")]


async def test_a_shadow_says_what_it_would_have_done() -> None:
    stand = Stand(rule("dry", 1, mode="shadow"), rule("real", 3))
    assert [await stand.call() for _ in range(4)] == [True, True, True, False]
    assert stand.met() == [("dry", "shadow"), ("dry", "shadow"), ("real", "enforce")]


async def test_tokens_and_cost_are_settled_by_what_was_used() -> None:
    stand = Stand(
        rule("tokens", 1_000, counts="tokens"),
        rule("cost", 0.02, counts="cost", window="month"),
    )
    for _ in range(3):
        spending = await stand.quotas.reserve(ANN, "chat", "s", "a", Estimate(100, 600, PRICES))
        assert spending is not None
        spending.settle(Usage(100, 20))
        spending.settle(Usage(100, 500))
    # 640 tokens are left, and 20,000 - 3 * 600 millionths of a dollar.
    assert not await stand.call(estimate=Estimate(641, 0, PRICES))
    assert await stand.call(estimate=Estimate(1, 546, PRICES))
    stand.clock.advance(120.0)
    assert not await stand.call(estimate=Estimate(900, 500, PRICES))
    assert await stand.call(estimate=Estimate(900, 100, PRICES))


async def test_a_call_that_told_nothing_used_nothing() -> None:
    stand = Stand(rule("tokens", 1_000, counts="tokens"))
    for _ in range(5):
        spending = await stand.quotas.reserve(ANN, "chat", "s", "a", Estimate(900, 100))
        assert spending is not None
        spending.settle(None)


async def test_a_stream_that_was_cut_is_estimated() -> None:
    stand = Stand(rule("tokens", 1_000, counts="tokens"))
    spending = await stand.quotas.reserve(ANN, "chat", "s", "a", Estimate(200, 256))
    assert spending is not None
    assert not spending.spent(402)
    spending.settle(None)
    assert await stand.call(estimate=Estimate(699, 0))
    assert not await stand.call(estimate=Estimate(1, 0))


async def test_a_stream_grows_and_is_cut_where_its_tokens_end() -> None:
    stand = Stand(rule("tokens", 2_000, counts="tokens"))
    estimate = estimated(400, None, streaming=True)
    spending = await stand.quotas.reserve(ANN, "chat", "s", "a", estimate)
    assert spending is not None
    sent = 0
    refused: LimitExceeded | None = None
    while refused is None:
        try:
            if spending.spent(40):
                await spending.grow()
            sent += 10
        except LimitExceeded as refusal:
            refused = refusal
    assert refused.rule == "tokens"
    assert 1_890 <= sent <= 1_900
    assert stand.met() == [("tokens", "enforce")]
    spending.settle(Usage(100, sent))
    assert not await stand.call(estimate=Estimate(1, 0))


async def test_a_stream_that_nothing_counts_never_waits() -> None:
    stand = Stand(rule("calls", 5), rule("slots", 2, counts="concurrency", window=None))
    for _ in range(5):
        spending = await stand.quotas.reserve(ANN, "chat", "s", "a", Estimate(1, 1))
        assert spending is not None
        assert not spending.spent(1_000_000)
        spending.settle(None)
    assert not await stand.call()


async def test_steps_grow_so_that_long_answers_ask_seldom() -> None:
    stand = Stand(rule("tokens", 10**9, counts="tokens"))
    estimate = estimated(0, None, streaming=True)
    spending = await stand.quotas.reserve(ANN, "chat", "s", "a", estimate)
    assert spending is not None
    grown = 0
    for _ in range(20_000):
        if spending.spent(4):
            await spending.grow()
            grown += 1
    assert grown < 12


async def test_plans_of_many_callers_leave_a_bounded_memory() -> None:
    stand = Stand(rule("one", 1, by="user"))
    for number in range(10_001):
        assert await stand.call(Who(user=str(number)))
    assert not await stand.call(Who(user="10000"))


def test_what_is_estimated() -> None:
    assert estimated(10, None, streaming=True) == Estimate(3, STEP_TOKENS)
    assert estimated(0, 50, streaming=True) == Estimate(0, 50)
    assert estimated(8, 100_000, streaming=True).output_tokens == STEP_TOKENS
    assert estimated(8, 100_000, streaming=False).output_tokens == 100_000
    assert estimated(8, None, streaming=False).output_tokens == STEP_MOST_TOKENS
    assert Estimate(100, 10, PRICES).cost == 450
    assert Estimate(100, 10).cost == 0
