"""What calls cost: caches, reasoning, and how a sum is rounded."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.core.messages import Usage
from isthmus.routing.catalogue import Prices
from isthmus.routing.price import cost, estimate

SONNET = Prices(3, 15, 0.3, 3.75)
GPT = Prices(1.25, 10, 0.125)
TOKENS = st.integers(0, 10_000_000)
PRICE = st.integers(0, 200_000_000).map(lambda parts: parts / 1_000_000)


@pytest.mark.parametrize(
    ("prices", "usage", "told"),
    [
        (SONNET, Usage(), 0),
        (SONNET, Usage(1_000_000, 0), 3_000_000),
        (SONNET, Usage(0, 1_000_000), 15_000_000),
        # 100 fresh, 1,000 from a cache, 200 into it.
        (SONNET, Usage(1_300, 10, 1_000, 200), 300 + 150 + 300 + 750),
        # No price of its own for what is kept: that of input.
        (GPT, Usage(1_000, 0, 0, 1_000), 1_250),
        # Reasoning is output already, and is not paid twice.
        (GPT, Usage(0, 500, reasoning_tokens=400), 5_000),
        # 0.125 of a millionth, and 0.5 of one: a half goes up.
        (GPT, Usage(1, 0, 1), 0),
        (GPT, Usage(4, 0, 4), 1),
        # A vendor that counts more cached tokens than tokens is not paid for less than nothing.
        (SONNET, Usage(10, 0, 1_000), 300),
        (SONNET, Usage(-5, -5, -5, -5), 0),
    ],
)
def test_tokens_cost_what_their_kind_costs(prices: Prices, usage: Usage, told: int) -> None:
    assert cost(prices, usage) == told


def test_an_estimate_counts_on_no_cache() -> None:
    assert estimate(SONNET, 1_000, 100) == cost(SONNET, Usage(1_000, 100)) == 4_500


@given(st.tuples(PRICE, PRICE, PRICE, PRICE), st.tuples(TOKENS, TOKENS, TOKENS, TOKENS))
def test_a_sum_is_exact_until_it_is_rounded_once(
    prices: tuple[float, ...], tokens: tuple[int, ...]
) -> None:
    exact = sum(
        (Decimal(repr(price)) * each for price, each in zip(prices, tokens, strict=True)),
        Decimal(0),
    )
    fresh, written, cached, kept = tokens
    usage = Usage(fresh + cached + kept, written, cached, kept)
    assert cost(Prices(*prices), usage) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))
