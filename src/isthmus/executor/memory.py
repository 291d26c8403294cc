"""What was answered to actions that change something, for a server that asks again.

A server that is lost between an action and its answer sends the action again under the same id:
it is not done twice.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Self
from uuid import uuid4

from isthmus.contract.contract_pb2 import Action, ActionResponse

MOST_ANSWERS = 256
"""A server has at most 64 actions open, all of its last step."""

Doing = Callable[[], Coroutine[object, object, ActionResponse]]


class Memory:
    """The actions of one run of the executor; a context.

    What is being done goes on when a stream breaks, and is cancelled when the context is left.
    """

    def __init__(self) -> None:
        self.name = uuid4().hex
        """What the server knows this memory by; another run has another one."""
        self._group = asyncio.TaskGroup()
        self._answers: OrderedDict[str, asyncio.Task[ActionResponse]] = OrderedDict()

    async def answer(self, action: Action, doing: Doing) -> ActionResponse:
        """The answer to an action, which is carried out unless it was before."""
        request_id = action.requestID
        task = self._answers.get(request_id)
        if task is None or task.cancelled():
            task = self._answers[request_id] = self._group.create_task(doing())
            if len(self._answers) > MOST_ANSWERS:
                self._forget_oldest()
        return await asyncio.shield(task)

    def cancel(self, request_id: str) -> None:
        """Do not go on with this action."""
        if (task := self._answers.get(request_id)) is not None:
            task.cancel()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._answers.values():
            task.cancel()
        # What ended the body is the body's: as part of an exception group nobody would know it.
        await self._group.__aexit__(None, None, None)

    def _forget_oldest(self) -> None:
        for request_id, task in self._answers.items():
            if task.done():
                del self._answers[request_id]
                return
