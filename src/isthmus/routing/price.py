"""What tokens cost, in whole millionths of a US dollar."""

from functools import lru_cache

from isthmus.core.messages import Usage
from isthmus.routing.catalogue import Prices

PARTS = 1_000_000
"""Prices are exact to a millionth of what they are told in: a dollar a million tokens."""


def cost(prices: Prices, usage: Usage) -> int:
    """What one call cost, in millionths of a US dollar.

    Tokens that a cache held, or was given, cost their own price where there is one, else that of
    other input; reasoning is output. The sum is exact, and then rounded once to a whole millionth:
    a half goes up.
    """
    rates = _rates(prices)
    read, write = max(0, usage.cache_read_tokens), max(0, usage.cache_write_tokens)
    fresh = max(0, usage.input_tokens - read - write)
    total = (
        fresh * rates[0] + max(0, usage.output_tokens) * rates[1] + read * rates[2]
    ) + write * rates[3]
    return (total + PARTS // 2) // PARTS


def estimate(prices: Prices, input_tokens: int, output_tokens: int) -> int:
    """What a call may cost of which no cache is known to help, in millionths of a US dollar.

    Rounded as `cost` is.
    """
    return cost(prices, Usage(input_tokens, output_tokens))


@lru_cache(maxsize=1_024)
def _rates(prices: Prices) -> tuple[int, int, int, int]:
    """Of a token: fresh, written, read from a cache, kept in one; in millionths of a millionth."""
    read = prices.input if prices.cache_read is None else prices.cache_read
    write = prices.input if prices.cache_write is None else prices.cache_write
    told = (prices.input, prices.output, read, write)
    fresh, output, cached, kept = (round(price * PARTS) for price in told)
    return fresh, output, cached, kept
