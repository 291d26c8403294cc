"""Calls that walk over deployments: who is asked first, who next, and what is told of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

import isthmus
from isthmus.core.deadline import Deadline
from isthmus.core.errors import (
    Failure,
    LimitExceeded,
    Unavailable,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
)
from isthmus.core.events import (
    AnswerReused,
    BreakerMoved,
    ModelCalled,
    ModelCallStarted,
    Noted,
    SecretFound,
    TryFailed,
)
from isthmus.core.identity import Caller
from isthmus.core.messages import (
    Chat,
    Delta,
    EmbedCall,
    Embeddings,
    Gathering,
    Infill,
    Message,
    ModelCall,
    RawCall,
    RawReply,
    Seen,
    Text,
    Usage,
    collect,
    gather,
)
from isthmus.redaction.guard import open_guard
from isthmus.routing.ask import Ask, EmbedAsk, Session
from isthmus.routing.calls import Governance
from isthmus.routing.catalogue import parse_catalogue
from isthmus.routing.exact import Exact
from isthmus.routing.models import Models
from isthmus.settings import (
    DeploymentSettings,
    ModelsSettings,
    OpenAISettings,
    OutboundSettings,
    RedactionSettings,
    RoutingSettings,
)
from tests.support.clock import HandClock
from tests.support.sink import MemorySink

LIBRARY = (Path(isthmus.__file__).parent / "library" / "models.yml").read_bytes()
SONNET = "claude_sonnet_4_6"
CALLER = Caller("u", realm="saas")
USAGE = Usage(10, 3)
HI = Chat((Message("user", (Text("Hi"),)),))
LONG = Chat((Message("system", (Text("Be kind. " * 1000),)), Message("user", (Text("Hi"),))))
LAST = Delta(finish="stop", usage=USAGE)
BROKEN = UpstreamFailed("broken", status=503, retryable=True)
RAW = RawCall("/v1/messages", (), b"{}", "claude-sonnet-4-6", streaming=True)

Script = list[Delta | BaseException]


class Vendor:
    """Answers each address by its script; a call without an address counts as `own`."""

    configured = True
    forward_headers = frozenset[str]()

    def __init__(self, name: str, scripts: Mapping[str, Script], clock: HandClock) -> None:
        self.name = name
        self.clock = clock
        self.scripts = dict(scripts)
        self.calls: list[str] = []
        self.alone: list[bool] = []
        self.asked_twice = asyncio.Event()
        self.closed = 0
        self.gates: dict[str, asyncio.Event] = {}
        self.statuses: dict[str, int] = {}
        self.chunks: dict[str, list[bytes | BaseException]] = {}
        self.headers: tuple[tuple[str, str], ...] = ()

    def forwards(self, path: str) -> bool:
        return bool(path)

    def stream(self, call: ModelCall, deadline: Deadline) -> AsyncIterator[Delta]:
        assert deadline.at_s
        place = call.target.base_url if call.target is not None else "own"
        self.calls.append(place)
        if len(self.calls) == 2:
            self.asked_twice.set()
        self.alone.append(call.alone)
        return self._play(place)

    async def _play(self, place: str) -> AsyncIterator[Delta]:
        try:
            if place in self.gates:
                await self.gates[place].wait()
            self.clock.advance(0.1)
            for step in self.scripts[place]:
                if isinstance(step, BaseException):
                    raise step
                yield step
        finally:
            self.closed += 1

    async def whole(self, call: ModelCall, deadline: Deadline, into: Gathering) -> None:
        await gather(self.stream(call, deadline), into)

    async def embed(self, call: EmbedCall, deadline: Deadline) -> Embeddings:
        await gather(
            self.stream(ModelCall(call.model, HI, 1, target=call.target), deadline), Gathering()
        )
        return Embeddings(((0.5,),), USAGE)

    @asynccontextmanager
    async def _reply(self, place: str) -> AsyncIterator[RawReply]:
        async def chunks() -> AsyncIterator[bytes]:
            for step in self.chunks.get(place, [b"data: x"]):
                if isinstance(step, BaseException):
                    raise step
                yield step

        def seen(chunk: bytes) -> Seen:
            return "error" if b"error" in chunk else "content" if b"x" in chunk else ""

        try:
            status = self.statuses.get(place, 200)
            headers = (("retry-after", "3"),) if status == 429 else self.headers
            yield RawReply(status, headers, chunks(), lambda _: USAGE, lambda: None, seen)
        finally:
            self.closed += 1

    def forward(self, raw: RawCall, deadline: Deadline) -> AbstractAsyncContextManager[RawReply]:
        assert deadline.at_s
        self.calls.append(raw.base_url or "own")
        return self._reply(raw.base_url or "own")


class Stage:
    """Sonnet at the addresses of the scripts, `own` being the vendor's; and other models."""

    def __init__(
        self,
        scripts: Mapping[str, Script],
        others: Mapping[str, Script] | None = None,
        *,
        exact: Exact | None = None,
        **routing: object,
    ) -> None:
        self.clock, self.sink, self.roll = HandClock(), MemorySink(), 0.0
        self.vendor = Vendor("anthropic", scripts, self.clock)
        self.others = {
            name: Vendor(name, {"own": script}, self.clock)
            for name, script in (others or {}).items()
        }
        weights = cast("dict[str, float]", routing.pop("weights", {}))
        limits = cast("dict[str, int]", routing.pop("limits", {}))
        places = {
            place: DeploymentSettings(
                model=SONNET,
                base_url=place,
                weight=weights.get(place, 1.0),
                concurrency=limits.get(place),
            )
            for place in scripts
            if place != "own"
        }
        settings = RoutingSettings.model_validate(routing)
        catalogue = parse_catalogue(LIBRARY, ModelsSettings(), OpenAISettings(), places)
        self.models = Models(
            {"anthropic": self.vendor, **self.others},
            catalogue,
            OutboundSettings(),
            self.sink,
            self.clock,
            Governance(settings, exact=exact, roll=lambda: self.roll),
        )

    def ask(self, prompt: Chat | Infill = HI, session: Session | None = None) -> Ask:
        return Ask("workflow", "u", prompt, streaming=True, session=session)

    async def whole(self, ask: Ask | None = None) -> str:
        choice = self.models.choose("workflow", SONNET)
        return (await self.models.whole(ask or self.ask(), choice, CALLER)).text

    async def streamed(self, ask: Ask | None = None) -> str:
        choice = self.models.choose("workflow", SONNET)
        return (await collect(self.models.stream(ask or self.ask(), choice, CALLER))).text

    @property
    def told(self) -> list[tuple[str, str, str]]:
        """Deployment, error and ending of every call; each has one start."""
        ends = self.sink.of(ModelCalled)
        assert len(self.sink.of(ModelCallStarted)) == len(ends)
        return [(end.deployment, end.error, end.finish) for end in ends]


Way = Callable[[Stage], "asyncio.Future[str]"]
WAYS = pytest.mark.parametrize("way", ["whole", "streamed"])


@WAYS
@pytest.mark.parametrize(
    "failure",
    [
        BROKEN,
        UpstreamLimited("slow", status=429, retryable=True, retry_after_s=30.0),
        UpstreamTimeout("slow", "first_byte"),
        UpstreamFailed("key", status=401),
        UpstreamFailed("no such model", status=404),
        UpstreamFailed("garbage"),
    ],
)
async def test_what_fails_before_content_is_asked_elsewhere(way: str, failure: Failure) -> None:
    stage = Stage({"a": [failure], "b": [Delta("ok"), LAST]})
    assert await getattr(stage, way)() == "ok"
    assert stage.vendor.calls == ["a", "b"]
    assert stage.vendor.alone == [False, True]
    assert [end[0] for end in stage.told] == ["a", "b"]
    [tried] = stage.sink.of(TryFailed)
    assert (tried.deployment, tried.then, tried.detail) == ("a", "next", failure.detail)
    assert stage.sink.of(ModelCalled)[1].tries == 2


@WAYS
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_the_callers_own_fault_is_told_at_once(way: str, status: int) -> None:
    stage = Stage({"a": [UpstreamFailed("bad", status=status)], "b": [LAST]})
    with pytest.raises(UpstreamFailed):
        await getattr(stage, way)()
    assert stage.vendor.calls == ["a"]
    assert not stage.sink.of(TryFailed)


async def test_a_whole_answer_that_breaks_off_is_asked_for_again() -> None:
    stage = Stage({"a": [Delta("half"), BROKEN], "b": [Delta("ok"), LAST]})
    assert await stage.whole() == "ok"


async def test_a_stream_that_has_begun_goes_on_nowhere_else() -> None:
    stage = Stage({"a": [Delta("half"), BROKEN], "b": [Delta("ok"), LAST]})
    with pytest.raises(UpstreamFailed):
        await stage.streamed()
    assert stage.vendor.calls == ["a"]
    assert stage.told == [("a", "service_unavailable", "error")]


async def test_deltas_without_content_are_held_back() -> None:
    stage = Stage({"a": [Delta(message_id="m1"), BROKEN], "b": [Delta(message_id="m2"), LAST]})
    choice = stage.models.choose("workflow", SONNET)
    answer = await collect(stage.models.stream(stage.ask(), choice, CALLER))
    assert (answer.message_id, answer.text) == ("m2", "")


async def test_no_more_than_64_are_held() -> None:
    stage = Stage({"a": [*([Delta(message_id="m")] * 64), BROKEN], "b": [LAST]})
    with pytest.raises(UpstreamFailed):
        await stage.streamed()
    assert stage.vendor.calls == ["a"]


@WAYS
async def test_when_all_fail_the_first_failure_is_raised(way: str) -> None:
    stage = Stage({"a": [UpstreamFailed("first", status=500)], "b": [BROKEN]})
    with pytest.raises(UpstreamFailed, match="first"):
        await getattr(stage, way)()
    assert stage.vendor.calls == ["a", "b"]


async def test_only_so_many_are_tried() -> None:
    stage = Stage({place: [BROKEN] for place in "abcdef"}, tries=3)
    with pytest.raises(UpstreamFailed):
        await stage.whole()
    assert len(stage.vendor.calls) == 3


async def test_a_key_that_is_refused_is_out_until_the_settings_are_read_again() -> None:
    stage = Stage({"a": [UpstreamFailed("key", status=401)], "b": [Delta("ok"), LAST]})
    for _ in range(3):
        assert await stage.whole() == "ok"
        stage.clock.advance(100_000.0)
    assert stage.vendor.calls == ["a", "b", "b", "b"]
    [moved] = stage.sink.of(BreakerMoved)
    assert (moved.deployment, moved.state) == ("a", "dead")
    [alarm] = stage.sink.of(Noted)
    assert (alarm.level, dict(alarm.details)["deployment"]) == ("critical", "a")


@pytest.mark.parametrize(("status", "asked"), [(401, 1), (402, 1), (403, 2)])
async def test_a_refused_key_is_refused_for_all_models_that_have_it(
    status: int, asked: int
) -> None:
    stage = Stage({"own": [LAST]})
    opus = stage.models.choose("workflow", "claude_opus_4_1_20250805")
    await stage.models.whole(stage.ask(), opus, CALLER)
    stage.vendor.scripts["own"] = [UpstreamFailed("key", status=status)]
    stage.vendor.calls.clear()
    with pytest.raises(UpstreamFailed):
        await stage.whole()
    with pytest.raises((UpstreamFailed, Unavailable)):
        await stage.models.whole(stage.ask(), opus, CALLER)
    assert len(stage.vendor.calls) == asked


async def test_one_that_asks_for_a_pause_is_left_alone_so_long() -> None:
    slow = UpstreamLimited("slow", status=429, retry_after_s=30.0)
    stage = Stage({"a": [slow], "b": [Delta("ok"), LAST]})
    await stage.whole()
    stage.clock.advance(29.0)
    await stage.whole()
    assert stage.vendor.calls == ["a", "b", "b"]
    stage.vendor.scripts["a"] = [Delta("back"), LAST]
    stage.clock.advance(2.0)
    assert await stage.whole() == "back"


async def test_a_breaker_opens_and_is_tried_again_by_one_call() -> None:
    stage = Stage({"a": [BROKEN], "b": [Delta("ok"), LAST]})
    for _ in range(8):
        await stage.whole()
    assert stage.vendor.calls.count("a") == 5
    assert [moved.state for moved in stage.sink.of(BreakerMoved)] == ["open"]
    stage.clock.advance(7.0)
    stage.vendor.scripts["a"] = [Delta("back"), LAST]
    assert await stage.whole() == "back"
    moves = [moved.state for moved in stage.sink.of(BreakerMoved)]
    assert moves == ["open", "half open", "closed"]


async def test_when_nobody_can_be_asked_the_caller_is_told_when() -> None:
    stage = Stage({"a": [BROKEN]})
    for _ in range(5):
        with pytest.raises(UpstreamFailed):
            await stage.whole()
    with pytest.raises(Unavailable) as refused:
        await stage.whole()
    assert 3.0 < (refused.value.retry_after_s or 0.0) < 7.0
    assert len(stage.told) == 5


async def test_weights_are_shares() -> None:
    stage = Stage({"a": [LAST], "b": [LAST]}, weights={"a": 3.0, "b": 1.0})
    for n in range(100):
        stage.roll = n / 100
        await stage.whole()
    assert stage.vendor.calls.count("a") == 75


async def test_a_full_deployment_makes_calls_wait_and_then_asks_elsewhere() -> None:
    stage = Stage({"a": [LAST]}, limits={"a": 1}, queue={"most": 1, "wait_s": 30.0})
    gate = stage.vendor.gates["a"] = asyncio.Event()
    first, second = (asyncio.ensure_future(stage.whole()) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(LimitExceeded):
        await stage.whole()
    assert stage.vendor.calls == ["a"]
    gate.set()
    await asyncio.gather(first, second)
    assert stage.vendor.calls == ["a", "a"]
    assert len(stage.told) == 2


async def test_a_caller_that_leaves_frees_its_place_and_closes_the_model() -> None:
    stage = Stage({"a": [Delta("one"), Delta("two"), LAST]}, limits={"a": 1})
    choice = stage.models.choose("workflow", SONNET)
    async with aclosing(stage.models.stream(stage.ask(), choice, CALLER)) as deltas:
        await anext(deltas)
    assert stage.vendor.closed == 1
    assert stage.told == [("a", "none", "cancelled")]
    assert await stage.whole() == "onetwo"


async def test_a_session_keeps_its_deployment_and_says_when_it_moves() -> None:
    moved: list[str] = []
    places: dict[str, Script] = {place: [Delta("ok"), LAST] for place in "abcd"}
    stage = Stage(places)
    for _ in range(5):
        pinned = moved[-1] if moved else ""
        await stage.whole(stage.ask(LONG, Session("s-1", pinned, moved.append)))
    [home] = set(stage.vendor.calls)
    assert moved == [home]
    assert [end.warmth for end in stage.sink.of(ModelCalled)] == ["new", *["warm"] * 4]
    stage.vendor.scripts[home] = [BROKEN]
    await stage.whole(stage.ask(LONG, Session("s-1", home, moved.append)))
    away = moved[-1]
    assert away != home
    assert stage.sink.of(ModelCalled)[-1].warmth == "cold"
    stage.vendor.scripts[home] = [LAST]
    await stage.whole(stage.ask(LONG, Session("s-1", away, moved.append)))
    assert stage.vendor.calls[-1] == away


async def test_a_session_is_told_what_each_try_used_and_cost() -> None:
    told: list[tuple[Usage, int | None]] = []
    session = Session("s", "a", lambda _: None, lambda usage, cost: told.append((usage, cost)))
    broken: Script = [Delta("no"), Delta(usage=Usage(7, 1)), BROKEN]
    stage = Stage({"a": broken, "b": [LAST]})
    await stage.whole(stage.ask(LONG, session))
    assert stage.vendor.calls == ["a", "b"]
    costs = [end.cost for end in stage.sink.of(ModelCalled)]
    assert told == [(Usage(7, 1), costs[0]), (USAGE, costs[1])]
    assert costs == [36, 75]


async def test_another_process_sends_a_session_where_its_record_says() -> None:
    places: dict[str, Script] = {place: [LAST] for place in "abcd"}
    for place in places:
        stage = Stage(places)
        await stage.whole(stage.ask(LONG, Session("s-1", place, lambda _: None)))
        assert stage.vendor.calls == [place]


async def test_long_prompts_that_begin_alike_go_to_one_deployment() -> None:
    stage = Stage({place: [LAST] for place in "abcd"})
    for n in range(8):
        stage.roll = n / 8
        await stage.whole(stage.ask(LONG))
    assert len(set(stage.vendor.calls)) == 1
    for n in range(8):
        stage.roll = n / 8
        await stage.whole()
    assert len(set(stage.vendor.calls)) == 4


async def test_a_warm_deployment_is_waited_for_when_leaving_costs_more() -> None:
    stage = Stage({"a": [LAST], "b": [LAST]}, second_worth_usd=0.0)
    session = Session("s", "a", lambda _: None)
    await stage.whole(stage.ask(LONG, session))
    stage.vendor.scripts["a"] = [UpstreamLimited("slow", status=429, retry_after_s=0.01)]
    stage.vendor.scripts["b"] = [Delta("cold"), LAST]
    # It is asked once more after the pause, and then left.
    assert await stage.whole(stage.ask(LONG, session)) == "cold"
    assert stage.vendor.calls == ["a", "a", "a", "b"]
    assert stage.sink.of(ModelCalled)[2].queued_s >= 0.0


async def test_a_model_that_was_not_asked_for_by_name_is_replaced() -> None:
    stage = Stage({"own": [BROKEN]}, {"openai": [Delta("other"), LAST]})
    asked: list[str] = []

    def again(choice: object) -> Ask:
        asked.append(getattr(choice, "id"))  # noqa: B009 - of any choice
        return stage.ask()

    ask = Ask("workflow", "u", HI, again=again)
    choice = stage.models.choose("workflow", SONNET)
    answer = await stage.models.whole(ask, choice, CALLER)
    assert answer.text == "other"
    assert answer.choice is not None
    assert (answer.choice.provider, answer.choice.id) == ("openai", asked[-1])
    streamed = await collect(stage.models.stream(ask, choice, CALLER))
    assert streamed.text == "other"


@WAYS
async def test_the_floor_answers_completions_when_all_is_gone(way: str) -> None:
    stage = Stage({"own": [BROKEN]}, {"local": [Delta("floor"), LAST]})
    fill = Infill("a", "b")
    words = Ask("code_completions", "u", fill)
    ask = Ask("code_completions", "u", fill, again=lambda _: words)
    choice = stage.models.choose("code_completions", "claude_haiku_4_5_20251001")
    if way == "whole":
        answer = await stage.models.whole(ask, choice, CALLER)
        assert answer.choice is not None
        assert answer.choice.engine == "local"
        assert answer.text == "floor"
    else:
        deltas = [delta async for delta in stage.models.stream(ask, choice, CALLER)]
        assert deltas[0].choice is not None
        assert deltas[0].choice.engine == "local"
    assert [each.then for each in stage.sink.of(TryFailed)] == ["floor"]


async def test_without_the_floor_the_failure_is_told() -> None:
    stage = Stage({"own": [BROKEN]}, {"local": [Delta("floor"), LAST]}, floor=False)
    words = Ask("code_completions", "u", Infill("a", "b"))
    ask = Ask("code_completions", "u", Infill("a", "b"), again=lambda _: words)
    choice = stage.models.choose("code_completions", "claude_haiku_4_5_20251001")
    with pytest.raises(UpstreamFailed):
        await stage.models.whole(ask, choice, CALLER)


async def test_embeddings_are_made_elsewhere_but_by_the_same_model() -> None:
    stage = Stage({"a": [BROKEN], "b": [LAST]})
    choice = stage.models.choose("workflow", SONNET)
    made = await stage.models.embed(EmbedAsk("workflow", "u", ("x",)), choice, CALLER)
    assert made.vectors == ((0.5,),)
    assert stage.vendor.calls == ["a", "b"]


@pytest.mark.parametrize("status", [401, 429, 500, 503, 529])
async def test_an_error_answer_is_forwarded_only_when_nobody_else_can_be_asked(status: int) -> None:
    stage = Stage({"a": [], "b": []})
    stage.vendor.statuses = {"a": status, "b": 200}
    async with stage.models.forward("anthropic", RAW, CALLER, "up") as reply:
        assert reply.status == 200
        assert [chunk async for chunk in reply.chunks] == [b"data: x"]
    assert stage.vendor.calls == ["a", "b"]
    assert [finish for _, _, finish in stage.told] == ["error", ""]
    stage.vendor.statuses = {"a": status, "b": status}
    stage.clock.advance(100.0)
    async with stage.models.forward("anthropic", RAW, CALLER, "up") as reply:
        assert reply.status == status
        assert [chunk async for chunk in reply.chunks] == [b"data: x"]


@pytest.mark.parametrize("status", [400, 403, 413, 422])
async def test_the_callers_own_fault_is_forwarded_as_it_is(status: int) -> None:
    stage = Stage({"a": [], "b": []})
    stage.vendor.statuses = {"a": status}
    for _ in range(8):
        async with stage.models.forward("anthropic", RAW, CALLER, "up") as reply:
            assert reply.status == status
    assert stage.vendor.calls == ["a"] * 8
    assert not stage.sink.of(BreakerMoved)


@pytest.mark.parametrize(
    "chunks",
    [
        [b": ping", b"event: error"],
        [b": ping", BROKEN],
        [b": ping"],
        [],
    ],
)
async def test_a_forwarded_stream_that_fails_before_content_is_asked_elsewhere(
    chunks: list[bytes | BaseException],
) -> None:
    stage = Stage({"a": [], "b": []})
    stage.vendor.chunks = {"a": chunks, "b": [b": ping", b"data: x", b"more"]}
    async with stage.models.forward("anthropic", RAW, CALLER, "up") as reply:
        assert [chunk async for chunk in reply.chunks] == [b": ping", b"data: x", b"more"]
    assert stage.vendor.calls == ["a", "b"]
    assert stage.vendor.closed == 2
    assert [finish for _, _, finish in stage.told] == ["error", ""]


async def test_what_a_forwarded_stream_was_held_for_is_looked_at_as_well() -> None:
    stage = Stage({"a": [], "b": []})
    guard = open_guard(RedactionSettings(answer="redact"), stage.sink)
    places = {
        place: DeploymentSettings(model=SONNET, base_url=place) for place in stage.vendor.scripts
    }
    catalogue = parse_catalogue(LIBRARY, ModelsSettings(), OpenAISettings(), places)
    governance = Governance(guard=guard, roll=lambda: 0.0)
    stage.models.adopt({"anthropic": stage.vendor}, catalogue, OutboundSettings(), governance)
    secret = b"glpat-" + b"aB3dE6gH9jK2mN5pQ8sT"
    stage.vendor.headers = (("content-type", "text/event-stream"),)
    stage.vendor.chunks = {"a": [b": ping\n\n", b'data: {"text": "x %b y"}\n\n' % secret]}
    async with stage.models.forward("anthropic", RAW, CALLER, "up") as reply:
        passed = b"".join([chunk async for chunk in reply.chunks])
    assert secret not in passed
    assert passed.startswith(b": ping\n\n")
    assert b"[REDACTED] y" in passed
    assert len(stage.sink.of(SecretFound)) == 1


async def test_the_last_ones_error_is_forwarded_to_the_byte() -> None:
    stage = Stage({"a": []})
    stage.vendor.chunks = {"a": [b": ping", b"event: error"]}
    async with stage.models.forward("anthropic", RAW, CALLER, "up") as reply:
        assert [chunk async for chunk in reply.chunks] == [b": ping", b"event: error"]


async def test_what_is_known_of_a_deployment_outlives_a_reload_and_dead_keys_do_not() -> None:
    stage = Stage({"a": [BROKEN], "b": [UpstreamFailed("key", status=402)], "c": [LAST]})
    for _ in range(6):
        await stage.whole()
    assert set(stage.vendor.calls[-2:]) == {"c"} or stage.vendor.calls[-1] == "c"
    places = {place: DeploymentSettings(model=SONNET, base_url=place) for place in ("a", "b", "c")}
    catalogue = parse_catalogue(LIBRARY, ModelsSettings(), OpenAISettings(), places)
    stage.vendor.scripts["b"] = [Delta("paid"), LAST]
    stage.models.adopt(
        {"anthropic": stage.vendor}, catalogue, OutboundSettings(), Governance(roll=lambda: 0.0)
    )
    stage.vendor.calls.clear()
    assert await stage.whole() == "paid"
    assert stage.vendor.calls == ["b"]


async def test_a_reload_lets_no_more_calls_in_at_once() -> None:
    stage = Stage({"a": [LAST]}, limits={"a": 1})
    stage.vendor.gates["a"] = asyncio.Event()
    inside = asyncio.ensure_future(stage.whole())
    await asyncio.sleep(0)
    places = {"a": DeploymentSettings(model=SONNET, base_url="a", concurrency=1)}
    catalogue = parse_catalogue(LIBRARY, ModelsSettings(), OpenAISettings(), places)
    stage.models.adopt(
        {"anthropic": stage.vendor}, catalogue, OutboundSettings(), Governance(roll=lambda: 0.0)
    )
    behind = asyncio.ensure_future(stage.whole())
    await asyncio.sleep(0.01)
    assert stage.vendor.calls == ["a"]
    stage.vendor.gates["a"].set()
    await asyncio.gather(inside, behind)
    assert stage.vendor.calls == ["a", "a"]


async def hedged(stage: Stage) -> Ask:
    """An ask for a completion, after enough of them that every one takes no time at all."""
    ask = Ask("code_completions", "u", Infill("a", "b"))
    for _ in range(20):
        await stage.whole(ask)
    stage.vendor.calls.clear()
    stage.vendor.asked_twice.clear()
    stage.sink.facts.clear()
    return ask


async def test_a_slow_completion_is_asked_for_twice_and_the_loser_is_stopped() -> None:
    stage = Stage({"a": [Delta("a"), LAST], "b": [Delta("b"), LAST]}, hedge=True)
    ask = await hedged(stage)
    stage.vendor.gates["a"] = asyncio.Event()
    stage.vendor.gates["b"] = asyncio.Event()
    asked = asyncio.ensure_future(stage.whole(ask))
    await stage.vendor.asked_twice.wait()
    second = stage.vendor.calls[1]
    stage.vendor.gates[second].set()
    assert await asked == second
    assert sorted(finish for _, _, finish in stage.told) == ["cancelled", "stop"]
    assert stage.vendor.closed == 22


async def test_a_hedge_of_which_one_fails_waits_for_the_other() -> None:
    stage = Stage({"a": [Delta("a"), LAST], "b": [Delta("b"), LAST]}, hedge=True)
    ask = await hedged(stage)
    for place in "ab":
        stage.vendor.gates[place] = asyncio.Event()
    asked = asyncio.ensure_future(stage.whole(ask))
    await stage.vendor.asked_twice.wait()
    first, second = stage.vendor.calls
    stage.vendor.scripts[second] = [BROKEN]
    stage.vendor.gates[second].set()
    await asyncio.sleep(0.01)
    assert not asked.done()
    stage.vendor.gates[first].set()
    assert await asked == first


async def test_a_caller_that_leaves_stops_both() -> None:
    stage = Stage({"a": [Delta("a"), LAST], "b": [Delta("b"), LAST]}, hedge=True)
    ask = await hedged(stage)
    for place in "ab":
        stage.vendor.gates[place] = asyncio.Event()
    asked = asyncio.ensure_future(stage.whole(ask))
    await stage.vendor.asked_twice.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert [finish for _, _, finish in stage.told] == ["cancelled", "cancelled"]


async def test_chat_is_never_hedged() -> None:
    stage = Stage({"a": [Delta("a"), LAST], "b": [Delta("b"), LAST]}, hedge=True)
    await hedged(stage)
    gate = stage.vendor.gates["a"] = stage.vendor.gates["b"] = asyncio.Event()
    asked = asyncio.ensure_future(stage.whole())
    await asyncio.sleep(0.02)
    assert len(stage.vendor.calls) == 1
    gate.set()
    await asked


async def test_the_same_call_of_a_tenant_is_answered_from_the_exact_cache() -> None:
    stage = Stage({"a": [Delta("ok"), LAST]}, exact=Exact())
    cold = Ask("workflow", "u", HI, temperature=0.0)
    choice = stage.models.choose("workflow", SONNET)
    theirs = Caller("v", realm="saas", instance_id="other")
    for caller in (CALLER, CALLER, theirs):
        assert (await stage.models.whole(cold, choice, caller)).text == "ok"
    assert len(stage.vendor.calls) == 2
    assert [reused.feature for reused in stage.sink.of(AnswerReused)] == ["workflow"]
    for _ in range(2):
        await stage.models.whole(Ask("workflow", "u", HI, temperature=0.2), choice, CALLER)
    assert len(stage.vendor.calls) == 4


async def test_identical_embeddings_at_one_time_are_made_once() -> None:
    stage = Stage({"a": [LAST]})
    gate = stage.vendor.gates["a"] = asyncio.Event()
    choice = stage.models.choose("workflow", SONNET)
    asks = [EmbedAsk("workflow", "u", (text,)) for text in ("x", "x", "y")]
    runs = [asyncio.ensure_future(stage.models.embed(ask, choice, CALLER)) for ask in asks]
    await asyncio.sleep(0)
    gate.set()
    assert {made.vectors for made in await asyncio.gather(*runs)} == {((0.5,),)}
    assert len(stage.vendor.calls) == 2


async def test_a_guard_looks_at_each_call_once() -> None:
    stage = Stage({"a": [Delta("ok"), LAST]}, exact=Exact())
    secret = "glpat-" + "aB3dE6gH9jK2mN5pQ8sT"
    settings = RedactionSettings(prompt="redact")
    governance = Governance(guard=open_guard(settings, stage.sink), exact=Exact())
    places = {"a": DeploymentSettings(model=SONNET, base_url="a")}
    catalogue = parse_catalogue(LIBRARY, ModelsSettings(), OpenAISettings(), places)
    stage.models.adopt({"anthropic": stage.vendor}, catalogue, OutboundSettings(), governance)
    choice = stage.models.choose("workflow", SONNET)
    said = Chat((Message("user", (Text(f"My key is {secret} today"),)),))
    await stage.models.whole(Ask("workflow", "u", said, temperature=0.0), choice, CALLER)
    assert len(stage.sink.of(SecretFound)) == 1
    await stage.models.embed(EmbedAsk("workflow", "u", (f"My key is {secret}",)), choice, CALLER)
    assert len(stage.sink.of(SecretFound)) == 2
