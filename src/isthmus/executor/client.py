"""A session as its client lives it: turns, approvals, and a server that may go away and return."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeVar

from isthmus.contract.contract_pb2 import NewCheckpoint, StartWorkflowRequest
from isthmus.executor.memory import Memory
from isthmus.executor.screen import Screen
from isthmus.executor.task import Task
from isthmus.executor.transcript import Transcript, Unreadable, entries_of, pending, printable
from isthmus.executor.turn import Hands, Stream
from isthmus.executor.wire import Dial, Ending, StreamEnd

Result = TypeVar("Result")

APPROVAL_ROUNDS = 500

_AWAY = frozenset({Ending.AWAY, Ending.BUSY})
_ASKS = "TOOL_CALL_APPROVAL_REQUIRED"
_DONE = frozenset({"FINISHED", "INPUT_REQUIRED", "PLAN_APPROVAL_REQUIRED"})
_OVER = _DONE | {_ASKS, "FAILED", "STOPPED"}


class Exit(IntEnum):
    """Exit codes of the executor. GONE is what sysexits.h calls EX_TEMPFAIL: try again later."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    GONE = 75
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server that went away is waited for. `reconnects` bounds the whole session."""

    outage_s: float = 120.0
    reconnects: int = 100
    first_s: float = 0.2
    longest_s: float = 5.0
    busy_s: float = 1.5

    def pause_s(self, attempt: int, roll: float, *, busy: bool = False) -> float:
        """Seconds before try number `attempt` (1 is the first), half to all of the step.

        A session that runs elsewhere is not asked for at once: its lock has to be freed first.
        """
        step = min(self.longest_s, self.first_s * 2.0 ** min(attempt - 1, 30))
        return max(step * (0.5 + roll / 2), self.busy_s if busy else 0.0)


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a task, and what it remembers. `stop` set: the person wants to leave."""

    task: Task
    memory: Memory
    stop: asyncio.Event


class Session:
    """Runs one task to its end. `stop` set means that the person wants to leave."""

    def __init__(
        self,
        access: Dial,
        hands: Hands,
        screen: Screen,
        *,
        patience: Patience | None = None,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self._access = access
        self._hands = hands
        self._screen = screen
        self._patience = patience or Patience()
        self._roll = roll
        self._reconnects = 0
        self._view = _View(screen)
        self.failure = ""
        """Why the last run did not end well."""

    @property
    def result(self) -> str:
        """The last thing that the agent said."""
        return self._view.said

    @property
    def waits(self) -> bool:
        """Whether the session waits for the person's next words."""
        return self._view.status == "INPUT_REQUIRED"

    async def run(self, task: Task, stop: asyncio.Event) -> Exit:
        """Turn after turn, until the session is done, failed, lost or left."""
        async with Memory() as memory:
            return await self._run(_Run(replace(task, memory=memory.name), memory, stop))

    async def _run(self, run: _Run) -> Exit:
        task, stop = run.task, run.stop
        start, approved = task.first(), task.approved
        for _ in range(APPROVAL_ROUNDS):
            exit_code = await self._turn(run, start, approved=approved)
            if exit_code is not None:
                return exit_code
            if self._hands.approver.leaves:
                self._screen.notice("The session waits for approval. Go on with: --approval")
                return Exit.DONE
            decision = await _unless(stop, self._hands.approver.decide(self._view.waiting))
            if decision is None:
                return Exit.INTERRUPTED
            task = replace(task, turn=task.turn + 1)
            run = replace(run, task=task)
            start, approved = task.start(decision), decision.HasField("approval")
        self._screen.notice("The session asked for approval too often; it was left waiting.")
        return Exit.FAILED

    async def _turn(self, run: _Run, start: StartWorkflowRequest, *, approved: bool) -> Exit | None:
        """One turn, over as many streams as it takes. None when it ended by asking for approval."""
        task, stop = run.task, run.stop
        self._view.status = ""
        attempt = 0
        loop = asyncio.get_running_loop()
        gone_at_s = loop.time() + self._patience.outage_s
        while True:
            async with self._access.open() as wire:
                stream = Stream(wire, self._hands, run.memory, self._view.take, approved=approved)
                end = await stream.run(start, stop)
            if end.taken:
                # From here on the server resumes what it stored.
                start = task.start()
            if end.heard:
                attempt = 0
                gone_at_s = loop.time() + self._patience.outage_s
            if self._over(end) or stop.is_set():
                return self._verdict(end, left=stop.is_set())
            attempt += 1
            self._reconnects += 1
            busy = end.ending is Ending.BUSY
            pause_s = self._patience.pause_s(attempt, self._roll(), busy=busy)
            late = loop.time() + pause_s > gone_at_s
            if late or self._reconnects > self._patience.reconnects:
                self.failure = f"The server is gone ({end.details}). Try again later: retry"
                self._screen.notice(self.failure)
                return Exit.GONE
            if attempt == 1:
                limit_s = self._patience.outage_s
                elsewhere = busy or "The session runs" in end.details
                why = "session runs elsewhere" if elsewhere else "server does not answer"
                self._screen.notice(f"The {why}; trying again for up to {limit_s:.0f} seconds.")
            await _unless(stop, asyncio.sleep(pause_s, result=True))
            if stop.is_set():
                return Exit.INTERRUPTED

    def _over(self, end: StreamEnd) -> bool:
        return end.ending not in _AWAY or self._view.status in _OVER

    def _verdict(self, end: StreamEnd, *, left: bool) -> Exit | None:
        status = self._view.status
        if left:
            return Exit.INTERRUPTED
        if status == _ASKS:
            return None
        if status in _DONE:
            return Exit.DONE
        if end.ending is not Ending.OVER:
            self.failure = f"The session failed: {end.details}"
        elif not status:
            self.failure = "The session ended without a result."
        else:
            self.failure = f"The session ended as {status}."
        self._screen.notice(self.failure)
        return Exit.FAILED


class _View:
    """The latest state of the session, and its conversation on the screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._transcript = Transcript()
        self.status = ""
        self.said = ""
        self.waiting = pending(())

    def take(self, checkpoint: NewCheckpoint) -> None:
        self.status = checkpoint.status
        try:
            entries = entries_of(checkpoint.checkpoint)
        except Unreadable as error:
            self._screen.notice(f"Skipped: {error}")
            return
        self.waiting = pending(entries)
        spoken = [e.content for e in entries if e.message_type == "agent" and e.content]
        self.said = printable(spoken[-1]) if spoken else self.said
        self._screen.show(self._transcript.update(entries))


async def _unless(stop: asyncio.Event, work: Coroutine[object, object, Result]) -> Result | None:
    """The result of `work`; None when the person leaves first."""
    async with asyncio.TaskGroup() as group:
        doing = group.create_task(work)
        leaving = group.create_task(stop.wait())
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finished = doing.done()
        doing.cancel()
        leaving.cancel()
    return doing.result() if finished else None
