"""One process that spends of shared limits as fast as it may, and notes what it was granted.

Run by `bench.limits`; its plan comes as JSON in the first argument, its notes go to a file.
"""

import asyncio
import random
import sys
import time
from pathlib import Path

import msgspec

from bench.plan import BIG, SMALL, Notes, Plan
from isthmus.adapters.limits.open import open_limiter
from isthmus.core.errors import LimitExceeded
from isthmus.core.events import Fact, LimitStoreLost
from isthmus.core.identity import Who
from isthmus.core.messages import Usage
from isthmus.routing.quota import Quotas, estimated
from isthmus.settings_limits import LimitsSettings

WHO = Who(instance="one")
CHUNK_CHARS = 160
NAP_S = 0.4
CHUNK_S = 0.01


class Spender:
    """Clients of one process."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.notes = Notes()
        self.in_use = 0

    def emit(self, fact: Fact) -> None:
        """Only the store's comings and goings are of interest."""
        if isinstance(fact, LimitStoreLost):
            self.notes.lost.append((time.monotonic(), fact.lost))

    def now_s(self) -> float:
        """The clock that all processes of a machine share."""
        return time.monotonic()

    async def run(self) -> None:
        """Spend until the plan ends."""
        settings = LimitsSettings.model_validate(self.plan.settings)
        async with open_limiter(settings, self, self) as limiter:  # type: ignore[arg-type]
            quotas = Quotas(settings, limiter, self)
            await asyncio.sleep(max(0.0, self.plan.start_s - time.monotonic()))
            async with asyncio.TaskGroup() as group:
                for number in range(self.plan.clients):
                    group.create_task(self._client(quotas, BIG if number % 2 else SMALL))

    async def _client(self, quotas: Quotas, feature: str) -> None:
        while time.monotonic() < self.plan.end_s:
            try:
                await self._call(quotas, feature)
            except LimitExceeded as refusal:
                self.notes.refused += 1
                await asyncio.sleep(min(refusal.retry_after_s, NAP_S) * random.uniform(0.5, 1))  # noqa: S311

    async def _call(self, quotas: Quotas, feature: str) -> None:
        notes = self.notes
        estimate = estimated(400, None, streaming=True)
        asked_s = time.monotonic()
        try:
            spending = await quotas.reserve(WHO, feature, "m", "p", estimate)
        finally:
            granted_s = self._waited(asked_s)
        if spending is None:
            raise RuntimeError("a rule for every feature")
        if feature == SMALL:
            notes.requests.append((asked_s, granted_s, 1))
        tokens, chunks = estimate.input_tokens, 0
        self._moved(1)
        try:
            for _ in range(random.randrange(1, 12)):  # noqa: S311
                if spending.spent(CHUNK_CHARS):
                    if feature == BIG:
                        notes.tokens.append((asked_s, granted_s, tokens))
                    tokens, asked_s = 0, time.monotonic()
                    try:
                        await spending.grow()
                    finally:
                        granted_s = self._waited(asked_s)
                tokens += CHUNK_CHARS // 4
                chunks += 1
                began_s = time.monotonic()
                await asyncio.sleep(CHUNK_S)
                notes.lags_s.append(time.monotonic() - began_s - CHUNK_S)
        finally:
            if feature == BIG and tokens:
                notes.tokens.append((asked_s, granted_s, tokens))
            self._moved(-1)
            spending.settle(Usage(estimate.input_tokens, chunks * CHUNK_CHARS // 4))

    def _waited(self, since_s: float) -> float:
        now_s = time.monotonic()
        self.notes.waits_s.append(now_s - since_s)
        return now_s

    def _moved(self, by: int) -> None:
        self.notes.running.append((time.monotonic(), by))


def main() -> None:
    """Do what the plan says."""
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    spender = Spender(plan)
    asyncio.run(spender.run())
    spender.notes.cpu_s = time.process_time()
    Path(plan.out).write_bytes(msgspec.msgpack.encode(spender.notes))


if __name__ == "__main__":
    main()
