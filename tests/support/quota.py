"""A portal that counts credits, as sessions ask it."""

from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import Use


class Counting:
    """A quota that keeps what it was asked, and refuses when told to."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.asked: list[Use] = []
        self.callers: list[Caller] = []
        self._refusal = refusal

    async def check(self, use: Use, caller: Caller, client: ClientInfo) -> None:
        del client
        self.asked.append(use)
        self.callers.append(caller)
        if self._refusal is not None:
            raise self._refusal
