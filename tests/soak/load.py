"""Clients for a soak: requests of many kinds at a steady rate, some of whom leave."""

import asyncio
import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.caller import ask
from tests.support.faulty_upstream import FaultyUpstream, Script
from tests.support.replay import wire

AT_ONCE = 128
"""On a machine that cannot keep the rate, requests come later; they do not pile up."""
LABELS = int(os.environ.get("SOAK_LABELS", "10000"))
LEAVING, LARGE = 0.30, 0.05
LARGE_BYTES = 1_000_000
WHOLE, HELD, PLAIN = "case0000001z", "case0000002z", "case0000003z"


def play(upstream: FaultyUpstream) -> None:
    """Answers for those who stay, for those who leave, and for those who want no stream."""
    text, plain = wire("anthropic", "text"), wire("anthropic", "text_plain")
    upstream.play(WHOLE, Script(text.pieces))
    upstream.play(HELD, Script(text.pieces, "hold", 4))
    upstream.play(PLAIN, Script((plain.body,), media="application/json"))


@dataclass
class Load:
    """Requests to a server; `statuses` counts what came back, "left" those who did not wait.

    A client's number says whether it leaves and whether it sends much: one round through all of
    them shows a server every label, and every pair of labels, that it will ever see.
    """

    port: int
    headers: Mapping[str, str]
    roll: random.Random
    statuses: Counter[str] = field(default_factory=Counter[str])
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def run(self, rate: int, seconds: float) -> None:
        """Begin `rate` requests a second, and wait for the last."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        places = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(begun_s + number / rate - loop.time())
                if loop.time() > begun_s + seconds:
                    break
                await places.acquire()
                group.create_task(self._one()).add_done_callback(lambda _: places.release())

    async def _one(self) -> None:
        number = next(self._numbers) % LABELS
        client = random.Random(number)  # noqa: S311 - the same client every time
        leaves, large = client.random() < LEAVING, client.random() < LARGE
        path, body, headers = self._request(number, leaves=leaves, large=large)
        try:
            asked = await ask(self.port, path, json.dumps(body).encode(), headers)
            try:
                if leaves:
                    await asyncio.sleep(self.roll.uniform(0.0, 0.2))
                    self.statuses["left"] += 1
                else:
                    outcome = await asked.outcome()
                    good = outcome.status == 200 and outcome.ended
                    self.statuses["200" if good else f"{outcome.status} {path}"] += 1
            finally:
                asked.leave()
        except (OSError, TimeoutError) as error:
            self.statuses[type(error).__name__] += 1

    def _request(
        self, number: int, *, leaves: bool, large: bool
    ) -> tuple[str, dict[str, Any], dict[str, str]]:
        case = HELD if leaves else WHOLE
        headers = dict(self.headers) | {
            "x-gitlab-global-user-id": f"user-{number}",
            "x-gitlab-host-name": f"host-{number}.test",
            "x-gitlab-version": f"17.{number % 99}.{number}",
            "x-gitlab-language-server-version": f"9.{number}.0",
            "x-gitlab-client-name": f"client-{number}",
            "user-agent": f"agent/{number}",
        }
        above = f"# {case}\n" + "x = 1  # padding\n" * (LARGE_BYTES // 17 if large else 4)
        file = {
            "file_name": f"file.ext{number}",
            "content_above_cursor": above + "def add(a, b):\n    return ",
            "content_below_cursor": "\n",
            "language_identifier": f"language-{number}",
        }
        # The other routes take no file of this size.
        match 2 if large else number % 5:
            case 0:
                body = {"prompt_version": 1, "current_file": file, "stream": True}
                return "/v2/code/generations", body, headers
            case 1:
                payload = file | {"stream": True}
                components = [{"type": "code_editor_generation", "payload": payload}]
                return "/v4/code/suggestions", {"prompt_components": components}, headers
            case 2 | 3:
                streamed = large or number % 5 == 2 or leaves
                text = above if streamed else above.replace(WHOLE, PLAIN)
                said = [{"role": "user", "content": text}]
                call = {"model": "claude-sonnet-4-6", "stream": streamed, "messages": said}
                return "/v1/proxy/anthropic/v1/messages", call, headers
            case _:
                body = {"prompt_version": 1, "current_file": file, "stream": False}
                return "/v2/code/completions", body, headers
