"""Gives up workflows that say they run while nothing has happened to them for long.

Source: instance contract, section 2.1.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from math import inf

from isthmus.core.errors import Conflict, Failure, NotFound
from isthmus.core.events import Noted
from isthmus.core.ports import Clock, Telemetry, WorkflowStore
from isthmus.core.workflow import Status, StatusEvent, Workflow
from isthmus.settings import InstanceSettings

MAX_PERIOD_S = 60.0


def stuck(workflow: Workflow, before: datetime) -> bool:
    """Whether it claims to run, or to be about to, and was not touched since `before`."""
    claims = workflow.status in {Status.CREATED, Status.RUNNING}
    return claims and workflow.updated_at < before


def period_s(stuck_after_s: float) -> float:
    """How long to wait between rounds, so that nobody is found much too late."""
    return min(MAX_PERIOD_S, stuck_after_s / 10)


class Evenness:
    """How long the wall clock has not leapt ahead of the monotonic one.

    When it leaps ahead, what lives looks untouched for as long as the leap.
    """

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._apart_s = inf
        self._leapt_at_s = -inf

    def lasted_s(self, now_s: float, wall_s: float) -> float:
        """Seconds since the last leap of more than `step_s`; without one, endless."""
        apart_s = wall_s - now_s
        if apart_s - self._apart_s > self._step_s:
            self._leapt_at_s = now_s
        self._apart_s = apart_s
        return now_s - self._leapt_at_s


async def sweep(
    store: WorkflowStore, clock: Clock, settings: InstanceSettings, telemetry: Telemetry
) -> None:
    """Go round until cancelled; a store that is down is told of, and asked again.

    After a leap of the clock nobody is given up before all that live had time to be touched.
    """
    allowed_s = settings.stuck_after_s
    evenness = Evenness(period_s(allowed_s))
    while True:
        wall = clock.utc()
        if evenness.lasted_s(clock.now_s(), wall.timestamp()) > allowed_s:
            await _round(store, wall - timedelta(seconds=allowed_s), telemetry)
        await asyncio.sleep(period_s(allowed_s))


async def _round(store: WorkflowStore, before: datetime, telemetry: Telemetry) -> None:
    try:
        given_up = await once(store, before)
    except Failure as failure:
        told = (("failure", type(failure).__name__),)
        telemetry.emit(Noted("warning", "Stuck workflows could not be looked for.", told))
    else:
        if given_up:
            counted = (("workflows", str(len(given_up))),)
            telemetry.emit(Noted("info", "Stuck workflows were given up.", counted))


async def once(store: WorkflowStore, before: datetime) -> Sequence[str]:
    """One round; the ids that were dropped. Several processes may do so at once."""
    dropped: list[str] = []
    for workflow_id in await store.stuck(before):
        try:
            # It may have moved since it was listed, and then it lives.
            if stuck(await store.get(workflow_id), before):
                await store.move(workflow_id, StatusEvent.DROP)
                dropped.append(workflow_id)
        except (Conflict, NotFound):
            continue
    return dropped
