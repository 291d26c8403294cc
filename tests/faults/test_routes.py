"""No answer lies about its end, whatever a vendor does, on any route and in any vocabulary."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from isthmus.core.events import Crashed
from tests.faults.caller import LIMIT_S, Outcome, ask
from tests.faults.cases import GROUPS, Case, cases
from tests.faults.expect import problems_of
from tests.faults.routes import Route, encoded
from tests.faults.stand import Server, serving
from tests.faults.vendors import DIALECTS
from tests.support.faulty_upstream import Watch

AT_ONCE = 32
CLOSED_S = 5.0
"""Generous, for machines that do other things; `bench` and the report have the real figures."""


def _id(value: object) -> str:
    return value.name if isinstance(value, Route) else str(value)


@dataclass
class Run:
    """One group of cases on a server."""

    server: Server
    control: Outcome | None = None
    problems: list[str] = field(default_factory=list[str])
    closed_s: list[float] = field(default_factory=list[float])

    async def all(self, those: list[Case]) -> None:
        first, *others = those
        await self.play(first)
        assert self.control is not None
        assert (self.control.status, self.control.ended) == (200, True), self.control.body
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(case: Case) -> None:
            async with gate:
                await self.play(case)

        async with asyncio.TaskGroup() as group:
            for case in others:
                group.create_task(one(case))

    async def play(self, case: Case) -> None:
        server = self.server
        watch = server.upstream.play(case.name, case.script)
        left = case.script.fault == "hold"
        headers = server.headers(case.name, hasty=case.script.fault == "stall")
        body = encoded(case.route, case.name, server.upstream.url)
        asked = await ask(server.port, case.route.path, body, headers)
        try:
            if left:
                await self._leave(asked.leave, watch)
                outcome = None
            else:
                outcome = await asked.outcome()
                if case.script.fault == "none":
                    self.control = outcome
            fact = await server.sink.told(case.name)
        except TimeoutError:
            self.problems.append(f"{case}: no end in {LIMIT_S} s")
            return
        finally:
            asked.leave()
        assert self.control is not None
        if server.sink.started[case.name] != len(server.sink.called[case.name]):
            self.problems.append(f"{case}: told {len(server.sink.called[case.name])} times")
        if any(isinstance(fact, Crashed) for fact in server.sink.others.get(case.name, ())):
            self.problems.append(f"{case}: crashed: {server.sink.others[case.name]}")
        got = "left" if outcome is None else f"{outcome.status}, {len(outcome.body)} bytes"
        self.problems += [
            f"{case}: {one} ({got})" for one in problems_of(case, outcome, self.control, fact)
        ]

    async def _leave(self, leave: Callable[[], None], watch: Watch) -> None:
        async with asyncio.timeout(LIMIT_S):
            await watch.played.wait()
        leave()
        left_at_s = time.monotonic()
        async with asyncio.timeout(CLOSED_S):
            await watch.closed.wait()
        self.closed_s.append(time.monotonic() - left_at_s)


@pytest.mark.parametrize(("route", "dialect"), GROUPS, ids=_id)
async def test_every_answer_ends_as_it_did(route: Route, dialect: str) -> None:
    async with serving(DIALECTS[dialect]) as server:
        run = Run(server)
        await run.all(cases(route, dialect))
    assert not run.problems, "\n".join(run.problems)


def test_there_are_cases_enough() -> None:
    assert sum(len(cases(route, dialect)) for route, dialect in GROUPS) >= 2_000
