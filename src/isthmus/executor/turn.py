"""One stream of a session: send the start, carry out actions, answer, until the server ends it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    ClientEvent,
    HeartbeatRequest,
    NewCheckpoint,
    StartWorkflowRequest,
    StopWorkflowRequest,
)
from isthmus.executor.answer import Answerer, refusal
from isthmus.executor.approve import Approver
from isthmus.executor.memory import Memory
from isthmus.executor.wire import Ending, StreamEnd, Wire

AT_ONCE = 8
"""Actions carried out side by side; the next one waits, and with it the server."""

STOP_REASON = "ABORTED"


@dataclass(frozen=True, slots=True)
class Hands:
    """Who carries out actions, and who lets them."""

    answerer: Answerer
    approver: Approver
    heartbeat_s: float = 60.0
    stop_wait_s: float = 10.0


class Stream:
    """Speaks on one wire. `approved` says that it begins with the person's yes."""

    def __init__(
        self,
        wire: Wire,
        hands: Hands,
        memory: Memory,
        view: Callable[[NewCheckpoint], None],
        *,
        approved: bool,
    ) -> None:
        self._wire = wire
        self._hands = hands
        self._memory = memory
        self._view = view
        self._approved = approved
        self._outbox: asyncio.Queue[ClientEvent] = asyncio.Queue()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._work: dict[asyncio.Task[None], Action] = {}
        self._heard, self._states = False, 0

    async def run(self, start: StartWorkflowRequest, stop: asyncio.Event) -> StreamEnd:
        """Speak until the server ends the stream, or does not answer a stop in time."""
        self._outbox.put_nowait(ClientEvent(startRequest=start))
        try:
            async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as group:
                others = [
                    group.create_task(self._write()),
                    group.create_task(self._beat()),
                    group.create_task(self._stop_on(stop, limit)),
                ]
                await self._read(group)
                for task in (*others, *self._work):
                    task.cancel()
        except TimeoutError:
            end = StreamEnd(Ending.AWAY, "the server did not answer the stop")
        else:
            end = await self._wire.end()
        return replace(end, heard=self._heard, taken=self._states > 1)

    async def _read(self, group: asyncio.TaskGroup) -> None:
        while (action := await self._wire.receive()) is not None:
            self._heard = True
            if action.HasField("newCheckpoint"):
                # A pause tells of what the server could not do.
                self._states += action.newCheckpoint.status != "PAUSED"
                self._view(action.newCheckpoint)
                continue
            await self._slots.acquire()
            task = group.create_task(self._carry_out(action))
            self._work[task] = action
            task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._work.pop(task, None)
        self._slots.release()

    async def _carry_out(self, action: Action) -> None:
        kind = self._hands.answerer.kind_of(action)
        if kind is None or kind.effect == "read":
            self._answer(await self._answered(action))
        else:
            doing = partial(self._answered, action)
            self._answer(await self._memory.answer(action, doing))

    async def _answered(self, action: Action) -> ActionResponse:
        kind = self._hands.answerer.kind_of(action)
        if kind is not None:
            admits = self._hands.approver.admits
            if not await admits(action, kind.effect, approved=self._approved):
                return refusal(action, "The person did not allow this.")
        return await self._hands.answerer.answer(action)

    def _answer(self, response: ActionResponse) -> None:
        self._outbox.put_nowait(ClientEvent(actionResponse=response))

    async def _write(self) -> None:
        while await self._wire.send(await self._outbox.get()):
            pass

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._hands.heartbeat_s)
            beat = HeartbeatRequest(timestamp=time.time_ns() // 1_000_000)
            self._outbox.put_nowait(ClientEvent(heartbeat=beat))

    async def _stop_on(self, stop: asyncio.Event, limit: asyncio.Timeout) -> None:
        """End what runs here, tell the server, and give it a while to close the session."""
        await stop.wait()
        for task, action in list(self._work.items()):
            task.cancel()
            self._memory.cancel(action.requestID)
            self._answer(refusal(action, "Interrupted by the person."))
        self._outbox.put_nowait(ClientEvent(stopWorkflow=StopWorkflowRequest(reason=STOP_REASON)))
        limit.reschedule(asyncio.get_running_loop().time() + self._hands.stop_wait_s)
