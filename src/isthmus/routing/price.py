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
    fresh, output, cached, kept = _rates(prices)
    read, write = max(0, usage.cache_read_tokens), max(0, usage.cache_write_tokens)
    total = max(0, usage.input_tokens - read - write) * fresh + read * cached + write * kept
    return _whole(total + max(0, usage.output_tokens) * output)


def estimate(prices: Prices, input_tokens: int, output_tokens: int) -> int:
    """What a call may cost of which no cache is known to help, in millionths of a US dollar.

    Rounded as `cost` is.
    """
    fresh, output, _, _ = _rates(prices)
    return _whole(input_tokens * fresh + output_tokens * output)


def _whole(total: int) -> int:
    return (total + PARTS // 2) // PARTS


@lru_cache(maxsize=1_024)
def _rates(prices: Prices) -> tuple[int, int, int, int]:
    """Of a token: fresh, written, read from a cache, kept in one; in millionths of a millionth."""
    read = prices.input if prices.cache_read is None else prices.cache_read
    write = prices.input if prices.cache_write is None else prices.cache_write
    told = (prices.input, prices.output, read, write)
    fresh, output, cached, kept = (round(price * PARTS) for price in told)
    return fresh, output, cached, kept
