"""Gives up workflows that say they run while nothing has happened to them for long.

Source: instance contract, section 2.1.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

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


async def sweep(
    store: WorkflowStore, clock: Clock, settings: InstanceSettings, telemetry: Telemetry
) -> None:
    """Go round until cancelled; a store that is down is told of, and asked again."""
    while True:
        try:
            given_up = await once(store, clock, settings)
        except Failure as failure:
            told = (("failure", type(failure).__name__),)
            telemetry.emit(Noted("warning", "Stuck workflows could not be looked for.", told))
        else:
            if given_up:
                counted = (("workflows", str(len(given_up))),)
                telemetry.emit(Noted("info", "Stuck workflows were given up.", counted))
        await asyncio.sleep(period_s(settings.stuck_after_s))


async def once(store: WorkflowStore, clock: Clock, settings: InstanceSettings) -> Sequence[str]:
    """One round; the ids that were dropped. Several processes may do so at once."""
    before = clock.utc() - timedelta(seconds=settings.stuck_after_s)
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
