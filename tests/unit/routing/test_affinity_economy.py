"""What affinity, breakers and the choice between waiting and leaving save, as walks decide it.

A hundred sessions of twenty turns ask three equal deployments whose providers keep prompts as
their vendors do (`bench/cached_upstream.py`). The oracle knows beforehand which of them will fail,
and never asks it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from heapq import heappop, heappush
from random import Random

import pytest

from bench.cached_upstream import LIFE_S, STEP_TOKENS, Cache
from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import Chat, Message, ModelChoice, Text, Usage
from isthmus.routing.affinity import Affinity
from isthmus.routing.ask import Ask
from isthmus.routing.ask import Session as Kept
from isthmus.routing.breaker import Breaker
from isthmus.routing.catalogue import Prices
from isthmus.routing.deployment import Deployment
from isthmus.routing.health import Health
from isthmus.routing.price import cost
from isthmus.routing.seats import Seat
from isthmus.routing.walk import Guide, Walk
from isthmus.settings import RoutingSettings
from tests.support.clock import HandClock
from tests.support.sink import MemorySink

NAMES = ("anthropic", "openai", "vertex")
EXPLICIT = {"anthropic": True, "openai": False, "vertex": True}
PRICES = Prices(3.0, 15.0, cache_read=0.3, cache_write=3.75)
NOTICED_S = 0.05
"""How long a call takes to fail."""
FIRST_BYTE_S = 0.5
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


class Walks:
    """Asks the model layer where each turn of a session goes."""

    def __init__(self, settings: RoutingSettings) -> None:
        self.clock = HandClock(0.0)
        roll = Random(9)  # noqa: S311 - a reproducible sample
        self.guide = Guide(settings, Affinity(), MemorySink(), self.clock, roll.random)
        self.seats = tuple(
            Seat(place(name), Breaker(roll.random), Health(), None) for name in NAMES
        )
        self.kept: dict[str, str] = {}

    def walk(self, session: str, tokens: int) -> Walk[Ask]:
        def moved(name: str) -> None:
            self.kept[session] = name

        prompt = Chat((Message("user", (Text("x" * 4 * tokens),)),))
        own = Kept(session, self.kept.get(session, ""), moved)
        ask = Ask("feature", "unit", prompt, session=own)
        return Walk(self.guide, (self.seats,), ask, "tenant")


def place(name: str) -> Deployment:
    choice = ModelChoice("model", name, name, "upstream")
    return Deployment(name, name, choice, name, cache_life_s=LIFE_S, prices=PRICES)


class Run:
    """All turns of all sessions, in the order of time."""

    def __init__(self, walks: Walks, down: Down) -> None:
        self.walks = walks
        self.down = down
        self.told = Told()
        self.caches = {name: Cache(name, EXPLICIT[name]) for name in NAMES}
        self.before: dict[str, tuple[float, int]] = {}
        self.heap: list[tuple[float, int, Turn]] = []

    def all(self) -> Told:
        for n, session in enumerate(sessions()):
            heappush(self.heap, (session.starts_s, n, Turn(session, 0, session.starts_s)))
        while self.heap:
            now_s, n, turn = heappop(self.heap)
            self.walks.clock.advance(now_s - self.walks.clock.now_s())
            due_s = self.step(turn, now_s)
            if due_s is not None:
                heappush(self.heap, (due_s, n, turn))
            elif turn.number + 1 < TURNS:
                due_s = now_s + turn.session.pauses_s[turn.number]
                heappush(self.heap, (due_s, n, Turn(turn.session, turn.number + 1, due_s)))
        return self.told

    def step(self, turn: "Turn", now_s: float) -> float | None:
        """Ask once. When to go on with this turn; None when it is served."""
        walk = turn.walk
        if walk is None:
            walk = turn.walk = self.walks.walk(turn.session.name, turn.tokens)
        elif turn.failed:
            turn.failed = False
            walk.failed(UpstreamFailed("Down", status=503, retryable=True))
        else:
            walk.seat.breaker.claim(now_s)
            return self.asked(turn, walk, now_s)
        return now_s + walk.pause_s if walk.pause_s else self.asked(turn, walk, now_s)

    def asked(self, turn: "Turn", walk: Walk[Ask], now_s: float) -> float | None:
        name = walk.seat.name
        if self.down(name, now_s):
            turn.failed = True
            return now_s + NOTICED_S
        tokens, read = self.caches[name].serve(turn.blocks, now_s)
        walk.served(FIRST_BYTE_S)
        self.told.waited_s.append(now_s - turn.asked_s)
        self.count(turn, tokens, read, now_s)
        return None

    def count(self, turn: "Turn", tokens: int, read: int, now_s: float) -> None:
        told, name = self.told, turn.session.name
        end_s, before = self.before.get(name, (0.0, 0))
        # A turn is cacheable if its beginning was said within the life of a cache.
        if turn.asked_s < end_s:
            told.cacheable += 1
            told.hits += read > before - STEP_TOKENS
        self.before[name] = (now_s + LIFE_S, tokens)
        told.cost += cost(PRICES, Usage(tokens, ANSWER_TOKENS, read, tokens - read))
        told.served += 1


class Turn:
    """One turn of a session on its way."""

    def __init__(self, session: Session, number: int, asked_s: float) -> None:
        self.session = session
        self.number = number
        self.asked_s = asked_s
        self.blocks = session.blocks(number)
        self.tokens = sum(len(text) + 1 for text, _ in self.blocks) // 4
        self.walk: Walk[Ask] | None = None
        self.failed = False


def run(down: Down, *, affinity: bool = True) -> Told:
    return Run(Walks(RoutingSettings(affinity=affinity)), down).all()


@cache
def oracles_cost(reliable: tuple[str, ...]) -> int:
    """Sessions are spread over those that never fail, and stay."""
    caches, total = {name: Cache(name, EXPLICIT[name]) for name in NAMES}, 0
    for n, session in enumerate(sessions()):
        now_s = session.starts_s
        for number, pause_s in enumerate(session.pauses_s):
            tokens, read = caches[reliable[n % len(reliable)]].serve(session.blocks(number), now_s)
            total += cost(PRICES, Usage(tokens, ANSWER_TOKENS, read, tokens - read))
            now_s += pause_s
    return total


def steady(_: str, __: float) -> bool:
    return False


def flapping(flapper: str, up_s: float, down_s: float) -> Down:
    return lambda name, now_s: name == flapper and now_s % (up_s + down_s) >= up_s


def test_sessions_stay_where_their_prompt_is_warm() -> None:
    ours = run(steady)
    assert ours.served == SESSIONS * TURNS
    assert ours.cacheable > 0.9 * SESSIONS * TURNS
    assert ours.share >= 0.97
    assert ours.cost <= 1.05 * oracles_cost(NAMES)


@pytest.mark.parametrize("flapper", NAMES)
@pytest.mark.parametrize(("up_s", "down_s"), [(50.0, 12.0), (3.0, 3.0)])
def test_one_that_flaps_costs_little(flapper: str, up_s: float, down_s: float) -> None:
    ours = run(flapping(flapper, up_s, down_s))
    assert ours.served == SESSIONS * TURNS
    assert ours.share >= 0.90
    assert ours.cost <= 1.05 * oracles_cost(tuple(name for name in NAMES if name != flapper))
    assert max(ours.waited_s) < 30.0


def test_without_affinity_it_costs_more() -> None:
    ours = run(flapping("openai", 50.0, 12.0), affinity=False)
    assert ours.share < 0.8
    assert ours.cost > 1.1 * oracles_cost(("anthropic", "vertex"))
