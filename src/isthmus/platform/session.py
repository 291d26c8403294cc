"""One stream of a session: the shell around the pure conversation, and the engine's stage."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    NewCheckpoint,
    TrackLlmCallForSelfHosted,
)
from isthmus.core.errors import ClientGone, Conflict, Failure, Interrupted, StoreDown, ToolRefused
from isthmus.core.events import ModelUse, Noted
from isthmus.core.ids import new_id
from isthmus.core.lease import Lease
from isthmus.core.workflow import ASKING, Status, StatusEvent, Workflow
from isthmus.platform import deadlines, ending, entries
from isthmus.platform.answer import checked
from isthmus.platform.bill import Bill
from isthmus.platform.exclusion import NOTHING, Exclusion, excluding
from isthmus.platform.home import Home
from isthmus.platform.ledger import Machine
from isthmus.platform.mode import event_of
from isthmus.platform.notifier import Notifier, Snapshot
from isthmus.platform.opening import Opening, Wiring, record_of, turn_of
from isthmus.platform.protocol import Full, Halt, Reason, Resolve
from isthmus.platform.telling import End, Teller
from isthmus.platform.turn import Written


class Session:
    """One stream. `run` is a task of the host; whoever serves the client iterates `actions`."""

    def __init__(self, wiring: Wiring, opening: Opening) -> None:
        self._wiring = wiring
        self._opening = opening
        self._start = opening.start
        self._conversation = opening.conversation
        self._stores = wiring.stores(opening, self)
        self._notifier = Notifier(
            opening.start.goal,
            incremental=opening.has("incremental_streaming"),
            limit_bytes=wiring.settings.message_limit_bytes,
        )
        self._waiting: dict[str, asyncio.Future[ActionResponse]] = {}
        self._wake = asyncio.Event()
        self._composed = asyncio.Event()
        self._over = False
        self._engine: asyncio.Task[None] | None = None
        self._halt: Halt | None = None
        self._error: Exception | None = None
        self._end: Exception | None = None
        self._held: Snapshot | None = None
        self._final: Status | None = None
        self._home: Home | None = None
        self._exclusion = NOTHING
        self._lease: Lease | None = None
        self._began = False
        self._mode = ""
        self._settled = False
        self._refused = False
        self._gone = False
        self._draining = False
        self._pace: asyncio.TimerHandle | None = None
        self._steps = 0
        self._bill = Bill()
        metered = wiring.metered and opening.metered
        self._teller = Teller(wiring.telemetry, opening, metered, bool(self._stores.apart))

    @property
    def held_as(self) -> str:
        """The name under which nobody else runs it."""
        return self._stores.held_as(self._start.workflow_id)

    @property
    def recorded_as(self) -> str:
        """The number of our record, once it runs; "" before, and where an instance keeps it."""
        return self._start.workflow_id if self._began and not self._stores.apart else ""

    @property
    def owner(self) -> str:
        """Who it belongs to."""
        return self._opening.owner

    def replaces(self, before: "Session") -> bool:
        """Whether its client is that of the stream before, which it lost: it came back."""
        key = self._opening.client_key
        return bool(key) and key == before._opening.client_key

    @property
    def started(self) -> bool:
        """Whether its turn began."""
        return bool(self._mode)

    async def run(self) -> None:
        """The whole stream. Never raises but for its own cancellation; `actions` tells the end."""
        clock, settings = self._wiring.clock, self._wiring.settings
        began_s = clock.now_s()
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(settings.session_s, self.halt, Halt(Reason.DEADLINE))
        outcome = "interrupted"
        try:
            async with asyncio.TaskGroup() as group:
                self._engine = group.create_task(self._turn())
                if self._halt is not None:
                    self._engine.cancel()
                reader = group.create_task(self._read())
                await asyncio.wait({self._engine})
                outcome = await self._conclude()
                reader.cancel()
        except asyncio.CancelledError:
            self._end = Interrupted("workflow execution interrupted: the server stops")
            raise
        finally:
            deadline.cancel()
            if self._pace is not None:
                self._pace.cancel()
            self._over = True
            self._wake.set()
            if self._mode:
                spent_s = clock.now_s() - began_s
                end = End(outcome, self._reason(), spent_s, self._steps, self._mode)
                self._teller.ended(end, self._bill)

    async def actions(self) -> AsyncGenerator[Action, None]:
        """What to send, until the stream is over; raises the failure that ended it, if one did."""
        began_s, answered, spare_id = self._wiring.clock.now_s(), False, new_id()
        while True:
            item = self._conversation.next(self._compose, spare_id)
            if isinstance(item, Action):
                if item.requestID == spare_id:
                    spare_id = new_id()
                if not answered:
                    answered = True
                    self._teller.answered(self._wiring.clock.now_s() - began_s)
                yield item
            elif isinstance(item, Halt):
                self.halt(item)
                if self._halt is not item:
                    # The turn is over already: its last notice is what cannot be sent.
                    raise ending.too_large(self._wiring.settings.message_limit_bytes)
            elif self._over:
                break
            else:
                await self._wake.wait()
                self._wake.clear()
        if self._end is not None:
            raise self._end

    def halt(self, halt: Halt) -> None:
        """Stop the turn, for the first reason given. A turn that is settled finishes its step."""
        if self._halt is not None or (self._settled and halt.reason is not Reason.DEADLINE):
            return
        self._halt = halt
        if self._engine is not None:
            self._engine.cancel()

    def leave(self) -> None:
        """The client is gone."""
        self.halt(Halt(Reason.GONE, "the client left"))

    def drain(self) -> None:
        """End at the next stored step, to go on elsewhere."""
        self._draining = True

    @property
    def client(self) -> Machine:
        """The client's machine, for tools."""
        return self

    @property
    def leaving(self) -> bool:
        """Whether the turn is to end at the next stored step."""
        return self._draining and not self._settled

    def utc(self) -> datetime:
        """The wall clock."""
        return self._wiring.clock.utc()

    @property
    def exclusion(self) -> Exclusion:
        """Which files no tool may read or change."""
        return self._exclusion

    @property
    def host(self) -> str:
        """The host of the client's instance; empty when it is not known."""
        return self._opening.client.get("x-gitlab-host-name")

    def has(self, capability: str) -> bool:
        """Whether the client declared this capability and may use it."""
        return self._opening.has(capability)

    async def ask(self, action: Action) -> ActionResponse:
        """Have the client carry out an action and wait for its answer."""
        answer = await self.send(action, new_id())
        return checked(answer, action.WhichOneof("action") or "")

    async def send(self, action: Action, request_id: str) -> ActionResponse:
        """Have the client carry out an action under this id, and wait: its answer as it came."""
        if self._gone:
            raise ClientGone("the client left")
        kind = action.WhichOneof("action") or ""
        asked = self._conversation.ask(action, request_id)
        if isinstance(asked, Full):
            raise ToolRefused("Too many actions wait for the client; ask for fewer at once.")
        if isinstance(asked, Halt):
            self.halt(asked)
            raise ToolRefused("The action is too large to be sent.")
        began_s = self._wiring.clock.now_s()
        answer = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        self._wake.set()
        try:
            async with asyncio.timeout(deadlines.action_s(kind, self._wiring.settings)):
                response = await answer
        except TimeoutError as error:
            raise ToolRefused("The client did not answer in time.") from error
        finally:
            self._waiting.pop(request_id, None)
            self._conversation.forget(request_id)
        spent_s = self._wiring.clock.now_s() - began_s
        self._teller.acted(action, response, spent_s)
        return response

    def say(self, message_id: str, text: str, component: str) -> None:
        """Show more text of the message that a model is writing, at most every 50 ms."""
        self._notifier.say(message_id, text, self.utc().isoformat(), component)
        if self._pace is None:
            wait_s = self._notifier.wait_s(self._wiring.clock.now_s())
            self._pace = asyncio.get_running_loop().call_later(wait_s, self._paced)

    async def announce(self) -> None:
        """Tell the client of a model call that comes, where such calls are counted one by one."""
        opening = self._opening
        if not self._teller.metered:
            return
        told = TrackLlmCallForSelfHosted(
            workflowID=opening.start.given_id,
            featureQualifiedName=opening.feature,
            featureAiCatalogItem=opening.selector.inline,
        )
        # Whatever the client says, the call goes on: counting is not the user's business.
        with suppress(ToolRefused):
            await self.ask(Action(trackLlmCallForSelfHosted=told))

    def answered(self, use: ModelUse) -> None:
        """A model answered an agent."""
        self._bill.model(use)

    def called(self, tool: str) -> None:
        """A tool was called."""
        self._bill.tool(tool)

    async def wait(self, status: Status) -> None:
        """Move the record to a waiting status, once."""
        if self._settled:
            return
        # From here on the turn is the user's: nothing but the deadline may take it back.
        self._settled = True
        try:
            await self._move(ASKING[status])
        except BaseException:
            self._settled = False
            raise

    def show(self, snapshot: Snapshot) -> None:
        """Show a stored state; one that waits for the user is held back until the turn ended."""
        if snapshot.status is Status.RUNNING:
            self._notifier.take(snapshot)
            self._notice()
        else:
            self._held = snapshot

    async def shown(self) -> None:
        """Wait until what was shown is on its way to the client."""
        await self._composed.wait()

    def stored(self, written: Written) -> None:
        """A step was stored."""
        self._steps += 1
        self._teller.stored(written)

    async def _turn(self) -> None:
        try:
            await self._drive()
        except Exception as error:  # noqa: BLE001 - a bug in one session must not end the others
            self._error = ending.alone(error)

    async def _drive(self) -> None:
        wiring, workflow_id = self._wiring, self._start.workflow_id
        # First: what the record says is true only in the hands of one.
        self._lease = await wiring.owner.hold(self.held_as, self._opening.client_key)
        record = await record_of(self._opening, self._stores.workflows)
        if record.closed:
            self._refused = True
            raise Conflict(record.closed)
        # Made there; here it is found.
        await asyncio.to_thread(excluding, record.site.excluded)
        turn = turn_of(self._opening, wiring, self._stores, record, self._lease)
        self._home, self._exclusion = turn.home, excluding(record.site.excluded)
        run = await wiring.engine.prepare(turn)
        try:
            await self._move(event_of(turn.mode, record.status))
        except asyncio.CancelledError:
            # The move may have happened: the ending settles the record either way.
            self._began = True
            raise
        self._began = True
        # The first model stays with the record, as long as it can serve.
        if turn.model.text and (turn.model.gone or not record.model):
            await self._stores.workflows.pin(workflow_id, turn.model.text)
        self._notifier.model(turn.model.text)
        self._mode = turn.mode
        self._teller.began(turn.mode)
        self._final = await run.drive(self)

    async def _read(self) -> None:
        try:
            await self._listen()
        finally:
            # Nobody answers any more, and nobody has to wait for the deadline to know.
            self._gone = True
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ClientGone("the client left"))

    async def _listen(self) -> None:
        limits = self._wiring.settings
        silence_s = limits.idle_s or None
        try:
            while True:
                async with asyncio.timeout(silence_s):
                    event = await anext(self._opening.events, None)
                if event is None:
                    break
                if event.HasField("heartbeat"):
                    silence_s = limits.heartbeat_s or silence_s
                received = self._conversation.receive(event)
                if isinstance(received, Resolve):
                    self._resolve(received)
                elif isinstance(received, Halt):
                    self.halt(received)
        except Exception:  # noqa: BLE001 - whatever broke the client's stream, the client is gone
            self.leave()
            return
        gone = self._conversation.half_close()
        self.halt(gone if isinstance(gone, Halt) else Halt(Reason.GONE))

    def _resolve(self, received: Resolve) -> None:
        answer = self._waiting.pop(received.request_id, None)
        if answer is not None and not answer.done():
            answer.set_result(received.response)

    async def _conclude(self) -> str:
        """The turn is over: settle the record, show the last state; the outcome for the fact."""
        limit_bytes = self._wiring.settings.message_limit_bytes
        how = ending.How(self._halt, self._error, self._final, self._settled)
        end = ending.of(how, limit_bytes)
        if end.event is not None and self._began:
            refused = await self._settle(end.event)
            if end.event is StatusEvent.FINISH and isinstance(refused, StoreDown):
                # Nobody could tell that it is finished: it ends once more, when asked again.
                end = ending.paused(refused)
        await self._keep_home()
        if self._lease is not None:
            # Before the client hears of the end: it may go on elsewhere at once.
            await self._wiring.owner.release(self._lease)
        match end.shown:
            case Status.STOPPED:
                self._notifier.stop()
                self._notice()
            case Status.FAILED | Status.PAUSED if self._began or self._refused:
                entry = entries.error(end.text, f"error-{new_id()}", self.utc().isoformat())
                failed = end.shown is Status.FAILED
                (self._notifier.fail if failed else self._notifier.pause)(entry)
                self._notice()
            case Status.RUNNING:
                if self._held is not None:
                    self._notifier.take(self._held)
                self._notice()
            case _:
                pass
        self._end = end.raised
        return end.outcome

    def _reason(self) -> str:
        if self._halt is not None:
            return self._halt.reason
        return "" if self._end is None else type(self._end).__name__

    def _compose(self) -> NewCheckpoint | None:
        self._composed.set()
        return self._notifier.compose(self._wiring.clock.now_s())

    async def _move(self, event: StatusEvent) -> Workflow:
        workflows = self._stores.workflows
        return await workflows.move(self._start.workflow_id, event, self._lease)

    async def _settle(self, event: StatusEvent) -> Failure | None:
        """Move the record; tells what kept it from that."""
        try:
            await self._move(event)
        except Failure as error:
            details = (("workflow_id", self._start.workflow_id), ("event", event.value))
            name = f"status not moved: {type(error).__name__}"
            self._wiring.telemetry.emit(Noted("warning", name, details))
            return error
        return None

    async def _keep_home(self) -> None:
        home = self._home
        if home is None or home.deployment == home.kept:
            return
        place = home.deployment
        try:
            await self._stores.workflows.change(
                self._start.workflow_id, lambda record: replace(record, deployment=place)
            )
        except Failure as error:
            details = (("workflow_id", self._start.workflow_id), ("deployment", place))
            name = f"deployment not kept: {type(error).__name__}"
            self._wiring.telemetry.emit(Noted("warning", name, details))

    def _paced(self) -> None:
        self._pace = None
        self._notice()

    def _notice(self) -> None:
        self._conversation.notice()
        self._composed.clear()
        self._wake.set()
