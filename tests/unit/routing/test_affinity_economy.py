"""What affinity, breakers and the choice between waiting and leaving save, on pure parts.

A hundred sessions of twenty turns ask three equal deployments whose providers keep prompts as
their vendors do (`bench/cached_upstream.py`). The oracle knows beforehand which of them will fail,
and never asks it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from heapq import heappop, heappush
from random import Random

import pytest

from bench.cached_upstream import LIFE_S, STEP_TOKENS, Cache
from isthmus.core.messages import Usage
from isthmus.routing.affinity import Affinity, leave, preferred, session_key
from isthmus.routing.breaker import Breaker
from isthmus.routing.catalogue import Prices
from isthmus.routing.price import cost

NAMES = ("anthropic", "openai", "vertex")
EXPLICIT = {"anthropic": True, "openai": False, "vertex": True}
PRICES = Prices(3.0, 15.0, cache_read=0.3, cache_write=3.75)
WORTH_OF_SECOND = 0.005
RETRY_S = 1.0
SESSIONS, TURNS, ANSWER_TOKENS = 100, 20, 400

Down = Callable[[str, float], bool]
Block = tuple[str, bool]


@dataclass
class Session:
    """What a session says in each turn, and how long it thinks before the next one."""

    name: str
    starts_s: float
    said: list[str]
    pauses_s: list[float]

    def blocks(self, turn: int) -> list[Block]:
        """The prompt of a turn, marked as our dialects mark it: the system text and the end."""
        texts = self.said[: turn + 2]
        return [(text, n in (0, len(texts) - 1)) for n, text in enumerate(texts)]


@cache
def sessions() -> Sequence[Session]:
    roll = Random(5)  # noqa: S311 - a reproducible sample
    made: list[Session] = []
    for n in range(SESSIONS):
        name = f"session-{n:04d}"
        sizes = [roll.randrange(6000, 16_000), *(roll.randrange(400, 4000) for _ in range(21))]
        said = [f"{name} {turn} ".ljust(size, "x") for turn, size in enumerate(sizes)]
        pauses = [400.0 if roll.random() < 0.03 else roll.uniform(5, 60) for _ in range(TURNS)]
        made.append(Session(name, roll.uniform(0, 300), said, pauses))
    return made


@dataclass
class Told:
    """How a run went. Costs are in millionths of a dollar."""

    cacheable: int = 0
    hits: int = 0
    cost: int = 0
    served: int = 0
    waited_s: list[float] = field(default_factory=list[float])

    @property
    def share(self) -> float:
        return self.hits / self.cacheable


@dataclass(frozen=True, order=True)
class Tried:
    """What one turn has been through: whom it asked in vain, and whether that was only now."""

    asked_s: float
    failed: tuple[str, ...] = ()
    just_failed: bool = False


class Planner:
    """Where a session's next turn goes, as the model layer decides it from the pure parts."""

    def __init__(self) -> None:
        roll = Random(9)  # noqa: S311 - a reproducible sample
        self.breakers = {name: Breaker(roll.random) for name in NAMES}
        self.affinity = Affinity()

    def place(self, session: str, tokens: int, tried: Tried, now_s: float) -> str | float:
        """The deployment to ask now, or for how many seconds to wait for the warm one."""
        key = session_key("tenant", session)
        warm = self.affinity.warm(key, now_s)
        if warm is not None:
            breaker = self.breakers[warm.deployment]
            wait_s = breaker.ready_in_s(now_s)
            if tried.just_failed:
                wait_s = max(wait_s, RETRY_S * 2 ** tried.failed.count(warm.deployment))
            if wait_s == 0.0 and breaker.claim(now_s):
                return warm.deployment
            if not leave(PRICES, warm.tokens, tokens, wait_s, WORTH_OF_SECOND):
                return wait_s
        order = [NAMES[at] for at in preferred(key, NAMES, [1.0] * 3)]
        fresh = [name for name in order if name not in tried.failed]
        for name in fresh:
            if self.breakers[name].claim(now_s):
                return name
        return min(breaker.ready_in_s(now_s) for breaker in self.breakers.values())


class Oracle(Planner):
    """Spreads sessions over those that never fail, and stays."""

    def __init__(self, reliable: Sequence[str]) -> None:
        super().__init__()
        self.reliable = reliable

    def place(
        self,
        session: str,
        tokens: int,  # noqa: ARG002 - it knows without
        tried: Tried,
        now_s: float,  # noqa: ARG002
    ) -> str | float:
        assert not tried.failed
        return self.reliable[int(session[-4:]) % len(self.reliable)]


def run(planner: Planner, down: Down) -> Told:
    told, caches = Told(), {name: Cache(name, EXPLICIT[name]) for name in NAMES}
    ends: dict[str, tuple[float, int]] = {}
    heap: list[tuple[float, int, int, Tried]] = []
    for n, session in enumerate(sessions()):
        heappush(heap, (session.starts_s, n, 0, Tried(session.starts_s)))
    while heap:
        now_s, n, turn, tried = heappop(heap)
        session = sessions()[n]
        blocks = session.blocks(turn)
        tokens = sum(len(text) + 1 for text, _ in blocks) // 4
        place = planner.place(session.name, tokens, tried, now_s)
        if not isinstance(place, str):
            tried = replace(tried, just_failed=False)
            heappush(heap, (now_s + max(place, 0.05), n, turn, tried))
            continue
        breaker = planner.breakers[place]
        if down(place, now_s):
            breaker.failed(now_s)
            tried = replace(tried, failed=(*tried.failed, place), just_failed=True)
            heappush(heap, (now_s + 0.05, n, turn, tried))
            continue
        breaker.succeeded(now_s)
        tokens, read = caches[place].serve(blocks, now_s)
        planner.affinity.keep(session_key("tenant", session.name), place, now_s, LIFE_S, tokens)
        end_s, before = ends.get(session.name, (0.0, 0))
        # A turn is cacheable if its beginning was said within the life of a cache.
        if tried.asked_s < end_s:
            told.cacheable += 1
            told.hits += read > before - STEP_TOKENS
        ends[session.name] = (now_s + LIFE_S, tokens)
        told.cost += cost(PRICES, Usage(tokens, ANSWER_TOKENS, read, tokens - read))
        told.served += 1
        told.waited_s.append(now_s - tried.asked_s)
        if turn + 1 < TURNS:
            next_s = now_s + session.pauses_s[turn]
            heappush(heap, (next_s, n, turn + 1, Tried(next_s)))
    return told


def steady(_: str, __: float) -> bool:
    return False


@cache
def oracles_cost(reliable: tuple[str, ...]) -> int:
    told = run(Oracle(reliable), steady)
    assert told.share == 1.0
    return told.cost


def flapping(flapper: str, up_s: float, down_s: float) -> Down:
    return lambda name, now_s: name == flapper and now_s % (up_s + down_s) >= up_s


def test_sessions_stay_where_their_prompt_is_warm() -> None:
    ours = run(Planner(), steady)
    assert ours.served == SESSIONS * TURNS
    assert ours.cacheable > 0.9 * SESSIONS * TURNS
    assert ours.share >= 0.97
    assert ours.cost <= 1.05 * oracles_cost(NAMES)


@pytest.mark.parametrize("flapper", NAMES)
@pytest.mark.parametrize(("up_s", "down_s"), [(50.0, 12.0), (3.0, 3.0)])
def test_one_that_flaps_costs_little(flapper: str, up_s: float, down_s: float) -> None:
    ours = run(Planner(), flapping(flapper, up_s, down_s))
    assert ours.served == SESSIONS * TURNS
    assert ours.share >= 0.90
    assert ours.cost <= 1.05 * oracles_cost(tuple(name for name in NAMES if name != flapper))
    assert max(ours.waited_s) < 60.0


def test_without_affinity_it_would_cost_far_more() -> None:
    class Forgetful(Planner):
        def place(self, session: str, tokens: int, tried: Tried, now_s: float) -> str | float:
            return super().place(f"{session} {tokens}", tokens, tried, now_s)

    ours = run(Forgetful(), steady)
    assert ours.share < 0.6
    assert ours.cost > 1.1 * oracles_cost(NAMES)
