"""Where a prompt is warm, what a key is made of, and when a warm deployment is left."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.core.messages import Chat, Infill, Message, Part, Text, ToolResult, ToolSpec
from isthmus.routing.affinity import (
    Affinity,
    Warm,
    cold_cost,
    leave,
    preferred,
    prompt_key,
    session_key,
)
from isthmus.routing.catalogue import Prices

NOW_S = 1000.0
PRICES = Prices(3.0, 15.0, cache_read=0.3, cache_write=3.75)


def chat(system: str = "s" * 2000, *turns: str, tools: int = 0) -> Chat:
    roles = ("user", "assistant")
    said = [Message(roles[n % 2], (Text(text),)) for n, text in enumerate(turns)]
    listed = tuple(ToolSpec(f"t{n}", "", {}) for n in range(tools))
    return Chat((Message("system", (Text(system),)), *said), listed)


def test_a_deployment_is_warm_for_the_life_of_its_cache() -> None:
    affinity = Affinity()
    assert affinity.warm(1, NOW_S) is None
    affinity.keep(1, "a", NOW_S, 300.0, 5000)
    assert affinity.warm(1, NOW_S + 299.0) == Warm("a", NOW_S + 300.0, 5000)
    assert affinity.warm(1, NOW_S + 300.0) is None
    assert affinity.warm(2, NOW_S) is None


def test_each_answer_begins_its_life_anew() -> None:
    affinity = Affinity()
    for turn in range(5):
        affinity.keep(1, "a", NOW_S + 200.0 * turn, 300.0, 5000)
    assert affinity.warm(1, NOW_S + 1099.0) is not None


def test_the_last_deployment_counts() -> None:
    affinity = Affinity()
    affinity.keep(1, "a", NOW_S, 300.0, 5000)
    affinity.keep(1, "b", NOW_S + 1.0, 60.0, 6000)
    assert affinity.warm(1, NOW_S + 2.0) == Warm("b", NOW_S + 61.0, 6000)


def test_the_least_recently_used_go_first() -> None:
    affinity = Affinity(limit=3)
    for key in (1, 2, 3, 1, 4):
        affinity.keep(key, "a", NOW_S, 300.0, 0)
    assert [key for key in range(1, 5) if affinity.warm(key, NOW_S)] == [1, 3, 4]
    assert len(affinity) == 3


def test_a_conversation_keeps_its_key_while_it_grows() -> None:
    turns = ["first " * 500, "answer", "second", "answer"]
    keys = {prompt_key("t", chat("s" * 9000, *turns[:count])) for count in (1, 3, 4)}
    assert len(keys) == 1


def test_other_conversations_have_other_keys() -> None:
    first = "x" * 600 + "y" * 9000
    prompts = [
        chat("system", first),
        chat("systen", first),
        chat("system" + " " * 5000, first),
        chat("system", first, tools=1),
        chat("system", "z" + first),
        chat("system", first + "z"),
        chat("system", first[:-1] + "z"),
        chat("system"),
    ]
    keys = {prompt_key(tenant, prompt) for prompt in prompts for tenant in ("t", "u")}
    assert len(keys) == 2 * len(prompts)


@pytest.mark.parametrize("parts", [(), (ToolResult("1", "text"),)])
def test_a_first_message_without_text_has_a_key_too(parts: tuple[Part, ...]) -> None:
    odd = Chat((Message("user", parts),))
    assert prompt_key("t", odd) != prompt_key("u", odd)


def test_a_file_keeps_its_key_while_it_is_edited() -> None:
    head = "# a file\n" * 40
    keys = {prompt_key("t", Infill(head + "x" * n, "", "a.py")) for n in range(100)}
    assert len(keys) == 1
    assert len({prompt_key("t", Infill("x" * n, "", "a.py")) for n in range(100)}) == 1


def test_other_files_have_other_keys() -> None:
    head = "# a file\n" * 40
    files = [Infill(head, "", "a.py"), Infill(head, "", "b.py"), Infill("#" + head, "", "a.py")]
    assert len({prompt_key(tenant, file) for file in files for tenant in ("t", "u")}) == 6


def test_a_session_has_a_key_of_its_tenant() -> None:
    keys = {session_key(tenant, session) for tenant in ("t", "u") for session in ("1", "2")}
    assert len(keys) == 4


def test_keys_are_the_same_everywhere() -> None:
    assert session_key("t", "1") == 0x856A5AA8_83DCEFB7
    assert prompt_key("t", Infill("", "", "1")) == session_key("t", "1")
    assert preferred(session_key("t", "1"), "abcdef", [1.0] * 6) == ORDER
    assert prompt_key("t", Infill("\ud800" * 300, "")) != 0


ORDER = (2, 3, 0, 4, 5, 1)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 1.0), (1.0, 2.0, 3.0, 0.0)])
def test_first_choices_are_spread_by_weight(weights: tuple[float, ...]) -> None:
    names = [f"deployment-{n}" for n in range(len(weights))]
    keys = [session_key("t", f"session-{n}") for n in range(6000)]
    first = Counter(preferred(key, names, weights)[0] for key in keys)
    for position, weight in enumerate(weights):
        assert first[position] / 6000 == pytest.approx(weight / sum(weights), abs=0.025)


@given(
    st.integers(0, 2**64 - 1),
    st.lists(st.tuples(st.text(), st.floats(0.1, 10)), min_size=2, unique_by=lambda each: each[0]),
    st.data(),
)
def test_one_that_is_gone_moves_its_own_keys_alone(
    key: int, listed: list[tuple[str, float]], data: st.DataObject
) -> None:
    gone = data.draw(st.integers(0, len(listed) - 1))
    left = [each for position, each in enumerate(listed) if position != gone]
    before = [listed[n] for n in preferred(key, *zip(*listed, strict=True))]
    after = [left[n] for n in preferred(key, *zip(*left, strict=True))]
    assert after == [each for each in before if each != listed[gone]]


def test_a_cold_cache_costs_the_difference_and_the_write() -> None:
    assert cold_cost(PRICES, 100_000, 120_000) == pytest.approx(0.345)
    assert cold_cost(PRICES, 100_000, 50_000) == pytest.approx(0.1725)
    assert cold_cost(Prices(2.0, 8.0, cache_read=0.5), 100_000, 120_000) == pytest.approx(0.15)


@pytest.mark.parametrize("prices", [None, Prices(1.0, 2.0), Prices(1.0, 2.0, cache_read=1.5)])
def test_without_a_discount_it_costs_no_money(prices: Prices | None) -> None:
    assert cold_cost(prices, 100_000, 120_000) == 0.0


@pytest.mark.parametrize(
    ("cached", "wait_s", "worth", "expected"),
    [
        (100_000, 0.0, 0.01, False),  # nothing to wait for
        (100_000, 30.0, 0.01, False),  # 20 s are worth less than 0.345 dollars
        (100_000, 60.0, 0.01, True),
        (2_000, 1.0, 0.01, True),  # 0.0069 dollars, and 0.2 s to read it again
        (2_000, 0.5, 0.01, False),
        (0, 0.1, 0.01, True),
        (0, 0.0, 0.01, False),
        (100_000, 30.0, 0.1, True),  # the same wait, of somebody in a hurry
    ],
)
def test_a_warm_deployment_is_left_when_waiting_costs_more(
    cached: int, wait_s: float, worth: float, expected: bool
) -> None:
    assert leave(PRICES, cached, 120_000, wait_s, worth) is expected


def test_without_prices_time_decides() -> None:
    assert leave(None, 20_000, 20_000, 2.5, 0.01)
    assert not leave(None, 20_000, 20_000, 1.5, 0.01)
