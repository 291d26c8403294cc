"""Series of routing and governance, and that nothing a stranger says makes more of them."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from isthmus.adapters.telemetry.family import SERIES_LIMIT
from isthmus.adapters.telemetry.prometheus import Prometheus
from isthmus.core.events import (
    AnswerReused,
    BreakerMoved,
    ConfigurationRead,
    Fact,
    LimitMet,
    LimitStoreLost,
    SecretFound,
    TryFailed,
)
from isthmus.core.identity import NOBODY
from isthmus.core.messages import Usage
from tests.unit.adapters.telemetry.facts import CALLED, SERVED
from tests.unit.adapters.telemetry.test_prometheus import Samples, pages, samples, value

SERVED_BY = replace(
    CALLED,
    deployment="anthropic-eu",
    tries=2,
    queued_s=0.05,
    cost=1_500,
    warmth="warm",
    usage=Usage(10, 3, cache_read_tokens=7, cache_write_tokens=2),
    gap_s=0.02,
    longest_gap_s=0.3,
)
LIMIT = LimitMet("per-user", "tokens", "shadow", NOBODY, "duo_chat")
SECRET = SecretFound("aws-key", "prompt", "redact", "duo_chat", "anthropic", 3)


def both(*facts: Fact) -> list[Samples]:
    """The two pages, each of which shows these series."""
    return list(pages(*facts))


def test_how_calls_were_served_stands_on_both_pages() -> None:
    for found in both(
        SERVED_BY, replace(SERVED_BY, warmth="cold"), replace(CALLED, first_byte_s=0)
    ):
        labels = {"model_name": "claude", "deployment": "anthropic-eu"}
        name = "inference_first_byte_seconds"
        assert value(found, f"{name}_sum", **labels) == pytest.approx(0.4)
        assert value(found, f"{name}_count", deployment="unknown") == 0
        assert value(found, "inference_token_gap_seconds_bucket", le="0.025", **labels) == 2
        assert value(found, "inference_longest_token_gap_seconds_bucket", le="0.25") == 0
        assert value(found, "inference_queue_seconds_sum", **labels) == pytest.approx(0.1)
        assert value(found, "inference_cache_read_tokens_total", **labels) == 14
        assert value(found, "inference_cache_write_tokens_total", **labels) == 4
        assert value(found, "inference_cost_usd_total", **labels) == pytest.approx(0.003)
        assert value(found, "inference_affinity_total", warmth="warm", **labels) == 1
        assert value(found, "inference_affinity_total", warmth="cold") == 1
        assert value(found, "inference_affinity_total") == 2


def test_tries_breakers_limits_guards_and_readings_are_counted() -> None:
    facts = (
        TryFailed("anthropic-eu", "claude", "overloaded", "next"),
        AnswerReused("claude", "duo_chat", NOBODY),
        BreakerMoved("anthropic-eu", "open", "five failures"),
        BreakerMoved("anthropic-eu", "half open", "time"),
        BreakerMoved("anthropic-us", "dead", "401"),
        LIMIT,
        SECRET,
        LimitStoreLost(True, "refused"),
        ConfigurationRead(True, ""),
        ConfigurationRead(False, "models.defaults: unknown"),
    )
    for found in both(*facts):
        assert value(found, "inference_tries_failed_total", then="next", error_type="overloaded")
        assert value(found, "inference_reused_total", feature_category="duo_chat") == 1
        assert value(found, "model_breaker_state", deployment="anthropic-eu") == 1
        assert value(found, "model_breaker_state", deployment="anthropic-us") == 3
        assert value(found, "model_breaker_moves_total", state="open") == 1
        assert value(found, "limits_met_total", rule="per-user", mode="shadow") == 1
        assert value(found, "secrets_found_total", rule="aws-key", way="prompt") == 3
        assert value(found, "limits_store_lost") == 1
        assert value(found, "configuration_readings_total", result="refused") == 1
        assert value(found, "configuration_refused") == 1


def test_what_went_wrong_and_is_over_is_zero_again() -> None:
    over = (
        LimitStoreLost(True),
        LimitStoreLost(False),
        BreakerMoved("a", "open", ""),
        BreakerMoved("a", "closed", ""),
        ConfigurationRead(False, "no"),
        ConfigurationRead(True, ""),
    )
    for found in both(*over):
        assert value(found, "limits_store_lost") == 0
        assert value(found, "limits_store_losses_total") == 1
        assert value(found, "model_breaker_state", deployment="a") == 0
        assert value(found, "configuration_refused") == 0


def test_our_own_part_is_counted_for_what_was_answered() -> None:
    http, _ = pages(
        replace(SERVED, own_s=0.0004),
        replace(SERVED, own_s=0.0004, response_start_s=0.0),
        replace(SERVED, own_s=0.0004, route=""),
    )
    name, route = "http_request_overhead_seconds", "/v2/code/completions"
    assert value(http, f"{name}_bucket", handler=route, le="0.0005") == 1
    assert value(http, f"{name}_count") == 1


HOSTILE: dict[str, Callable[[str], Fact]] = {
    "names": lambda text: replace(SERVED_BY, deployment=text, model=text, engine=text),
    "warmth": lambda text: replace(SERVED_BY, warmth=text),
    "tries": lambda text: TryFailed(text, text, "overloaded", "next"),
    "reused": lambda text: AnswerReused(text, text, NOBODY),
    "breakers": lambda text: BreakerMoved(text, "open", text),
    "states": lambda text: BreakerMoved("a", text, text),
    "limits": lambda text: replace(LIMIT, rule=text, feature=text),
    "secrets": lambda text: replace(SECRET, rule=text, provider=text),
    "configurations": lambda text: ConfigurationRead(False, text, ((text, text),)),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
def test_ten_thousand_values_of_a_stranger_make_a_bounded_page(
    hostile: Callable[[str], Fact],
) -> None:
    metrics = Prometheus()
    first = [(1.0, "", hostile(f"{n}-" * 100)) for n in range(SERIES_LIMIT)]
    metrics.take(first)
    before = len(samples(metrics.http_page()))
    metrics.take([(1.0, "", hostile(f"x{n}-" * 100)) for n in range(10_000)])
    after = samples(metrics.http_page())
    # One more series for what is counted as `other`, with its buckets.
    assert len(after) <= before + 100
    assert all(len(label) <= 64 for _, held in after for _, label in held)
