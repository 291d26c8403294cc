"""Carries out one action and words its answer, always within the message limit."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import cast

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    HttpResponse,
    PlainTextResponse,
    ScheduleNotificationResponse,
)
from isthmus.core.discovery import discover
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine, Reply

ANSWER_LIMIT_BYTES = 4 * 1024 * 1024 - 4096
"""What peers accept in one message, less an allowance for its frame."""


def load_actions(package: ModuleType) -> dict[str, ActionKind]:
    """Every action that a module of the package declares, by its name in the contract."""
    kinds = (cast("ActionKind", kind) for kind in discover(package, "ACTION").values())
    return {kind.field: kind for kind in kinds}


class Answerer:
    """Answers actions. `report` is told of a bug in one; the session goes on."""

    def __init__(
        self,
        kinds: Mapping[str, ActionKind],
        machine: Machine,
        report: Callable[[str, Exception], None],
    ) -> None:
        self._kinds = kinds
        self._machine = machine
        self._report = report

    def kind_of(self, action: Action) -> ActionKind | None:
        """The kind of an action; None when this executor does not know it."""
        return self._kinds.get(action.WhichOneof("action") or "")

    async def answer(self, action: Action) -> ActionResponse:
        """Carry the action out. Never raises but for cancellation."""
        kind = self.kind_of(action)
        if kind is None:
            return refusal(action, "This executor does not know this action.")
        try:
            reply = await kind.run(getattr(action, kind.field), self._machine)
        except ToolRefused as refused:
            return refusal(action, self._machine.mask.plain(refused.detail))
        except Exception as bug:  # noqa: BLE001 - an edge: a bug in one action, told to both sides
            self._report(kind.field, bug)
            return refusal(action, f"The executor failed: {type(bug).__name__}")
        answer = _worded(action.requestID, reply if kind.masks else self._masked(reply))
        if answer.ByteSize() > ANSWER_LIMIT_BYTES:
            return refusal(action, "The answer exceeds the message size limit; ask for less.")
        return answer

    def _masked(self, reply: Reply) -> Reply:
        """Text without secrets. What an instance answers goes to the server as it came."""
        mask = self._machine.mask
        match reply:
            case str():
                return mask(reply)
            case PlainTextResponse():
                return PlainTextResponse(
                    response=mask(reply.response), error=mask.plain(reply.error)
                )
            case _:
                return reply


def refusal(action: Action, error: str) -> ActionResponse:
    """An answer that reports an error, of the kind that the action expects."""
    answer = ActionResponse(requestID=action.requestID)
    if action.HasField("runHTTPRequest"):
        answer.httpResponse.error = error
    elif action.HasField("scheduleNotification"):
        answer.scheduleNotificationResponse.reason = error
    else:
        answer.plainTextResponse.error = error
    return answer


def _worded(request_id: str, reply: Reply) -> ActionResponse:
    match reply:
        case str():
            text = reply.encode("utf-8", "replace").decode("utf-8")
            plain = PlainTextResponse(response=text)
            return ActionResponse(requestID=request_id, plainTextResponse=plain)
        case PlainTextResponse():
            return ActionResponse(requestID=request_id, plainTextResponse=reply)
        case HttpResponse():
            return ActionResponse(requestID=request_id, httpResponse=reply)
        case ScheduleNotificationResponse():
            return ActionResponse(requestID=request_id, scheduleNotificationResponse=reply)
