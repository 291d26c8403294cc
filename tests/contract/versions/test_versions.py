"""Golden exchanges: the oldest and the newest shape of every route, against the real server.

A case that fails names the clients that would break. Where a reply says `<int>`, `<float>`, `<str>`
or `<any>`, any value of that kind will do; everything else, absent members included, is exact.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
import pytest
import pytest_asyncio
import yaml

from tests.support.process import RunningServer, running_server
from tests.support.replay import KEY, replaying

FOLDER = Path(__file__).parent
KINDS: dict[str, type | tuple[type, ...]] = {
    "<int>": int,
    "<float>": (int, float),
    "<str>": str,
    "<any>": object,
}


@dataclass(frozen=True)
class Case:
    """One exchange, and whom a change of it breaks."""

    file: str
    name: str
    clients: str
    request: dict[str, object]
    reply: dict[str, object]

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"


def cases() -> Iterator[Case]:
    for path in sorted(FOLDER.glob("*.yml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
            yield Case(path.stem, **entry)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    async with replaying("anthropic") as anthropic, replaying("openai") as openai:
        settings = {
            "ANTHROPIC_API_KEY": KEY,
            "ISTHMUS_PROVIDERS__ANTHROPIC__BASE_URL": anthropic.base_url,
            "OPENAI_API_KEY": KEY,
            "ISTHMUS_PROVIDERS__OPENAI__BASE_URL": openai.base_url,
            "AIGW_AUTH__BYPASS_EXTERNAL": "true",
            "AIGW_CUSTOM_MODELS__ENABLED": "true",
            "ISTHMUS_TRANSPORTS": "http",
        }
        context = running_server(tmp_path_factory.mktemp("versions"), settings)
        started = await asyncio.to_thread(context.__enter__)
        try:
            yield started
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", list(cases()), ids=str)
async def test_a_golden_exchange(server: RunningServer, case: Case) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        got = await client.request(
            cast("str", case.request.get("method", "POST")),
            cast("str", case.request["path"]),
            headers=cast("dict[str, str]", case.request.get("headers", {})),
            json=case.request.get("body"),
        )
    breaks = f"this breaks {case.clients}; the answer was: {got.status_code} {got.text[:2000]}"
    assert got.status_code == case.reply["status"], breaks
    assert got.headers["content-type"] == case.reply["type"], breaks
    for name, value in cast("dict[str, str]", case.reply.get("headers", {})).items():
        assert got.headers.get(name) == value, breaks
    if "text" in case.reply:
        assert got.text == case.reply["text"], breaks
    if "body" in case.reply:
        assert fits(got.json(), case.reply["body"]), breaks
    if "keys" in case.reply:
        assert sorted(got.json()) == case.reply["keys"], breaks
    for place, number in (("first", 0), ("last", -1)):
        if place in case.reply:
            assert fits(json.loads(got.text.splitlines()[number]), case.reply[place]), breaks


def fits(value: object, expected: object) -> bool:
    """Whether a value is what is expected, member by member."""
    if isinstance(expected, str) and expected in KINDS:
        return isinstance(value, KINDS[expected]) and not (
            expected == "<int>" and isinstance(value, bool)
        )
    if type(value) is not type(expected):
        return False
    if isinstance(expected, dict):
        wanted, held = cast("dict[str, object]", expected), cast("dict[str, object]", value)
        return wanted.keys() == held.keys() and all(fits(held[k], wanted[k]) for k in wanted)
    if isinstance(expected, list):
        items, found = cast("list[object]", expected), cast("list[object]", value)
        return len(items) == len(found) and all(map(fits, found, items))
    return value == expected
