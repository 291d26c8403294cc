"""The example of `docs/guide/routing.md`, as it stands there."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.guide import block
from tests.support.process import RunningServer, running_server
from tests.support.replay import Replay, replaying

BODY = {
    "prompt_version": 1,
    "current_file": {
        "file_name": "a.py",
        "content_above_cursor": "value_one = 1\nvalue_two = 2\nval",
        "content_below_cursor": "",
    },
}

AT_ONCE = 10


@dataclass
class Example:
    """The server of the guide, and the two that it asks."""

    server: RunningServer
    headers: dict[str, str]
    vendor: Replay
    own: Replay

    async def complete(self, times: int) -> Counter[str]:
        """Engines that answered."""
        url = f"{self.server.url}/v2/code/completions"
        engines = Counter[str]()
        async with httpx.AsyncClient(timeout=60) as client:
            for _ in range(times // AT_ONCE):
                calls = (client.post(url, json=BODY, headers=self.headers) for _ in range(AT_ONCE))
                for reply in await asyncio.gather(*calls):
                    assert reply.status_code == 200, reply.text
                    engines[reply.json()["model"]["engine"]] += 1
        return engines

    def asked(self) -> tuple[int, int]:
        """Calls that came to the vendor and to the own server since the last time."""
        counts = len(self.vendor.requests), len(self.own.requests)
        self.vendor.requests.clear()
        self.own.requests.clear()
        return counts


@pytest.fixture(name="example")
async def _example(tmp_path: Path) -> AsyncIterator[Example]:
    example = block("routing", "yaml", "# isthmus.yml\n")
    async with (
        replaying("fireworks", "key-of-the-vendor") as vendor,
        replaying("fireworks", "key-of-our-own") as own,
    ):
        text = example.replace("http://vendor.example/v1", vendor.base_url)
        text = text.replace("http://gpu-1.example:8000/v1", own.base_url)
        (tmp_path / "isthmus.yml").write_text(text, "utf-8")
        arguments = ("--config", "isthmus.yml", "--transports", "http")
        opened = running_server(tmp_path, arguments=arguments)
        server = await asyncio.to_thread(opened.__enter__)
        try:
            headers = await asyncio.to_thread(server.headers, "complete_code")
            yield Example(server, headers, vendor, own)
        finally:
            await asyncio.to_thread(opened.__exit__, None, None, None)


async def test_both_are_asked(example: Example) -> None:
    example.vendor.pause_s = example.own.pause_s = 0.02
    assert await example.complete(60) == {"fireworks_ai": 60}
    vendor, own = example.asked()
    assert vendor + own == 60
    assert min(vendor, own) > 0


async def test_one_that_fails_is_left_alone(example: Example) -> None:
    example.vendor.play(*["overloaded"] * 100)
    assert await example.complete(40) == {"fireworks_ai": 40}
    vendor, own = example.asked()
    assert own == 40
    assert 0 < vendor < 20


async def test_a_refused_key_is_not_tried_again(example: Example) -> None:
    example.vendor.key = "another key"
    assert await example.complete(40) == {"fireworks_ai": 40}
    vendor, own = example.asked()
    assert own == 40
    assert 0 < vendor <= AT_ONCE
    told = "key of a model provider is refused"
    assert await asyncio.to_thread(example.server.logs, told)


async def test_with_both_gone_the_floor_answers(example: Example) -> None:
    example.vendor.play(*["overloaded"] * 100)
    example.own.play(*["overloaded"] * 100)
    assert await example.complete(80) == {"local": 80}
    assert sum(example.asked()) < 80
