"""Tools of real MCP servers: a program that speaks over its pipes, and one behind an address."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isthmus.core.errors import ToolRefused
from isthmus.executor.mcp_servers import open_servers, read
from isthmus.executor.task import Malformed
from tests.support.ports import free_port
from tests.support.process import wait_for_port

SAMPLE = str(Path(__file__).with_name("mcp_sample.py"))
NAMES = ["demo_shout", "demo_variable", "demo_fail"]


def config(folder: Path, **server: object) -> Path:
    path = folder / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"demo": server}, "other": 1}))
    return path


def environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


async def test_a_programs_tools_are_announced_and_called(tmp_path: Path) -> None:
    path = config(tmp_path, command=sys.executable, args=[SAMPLE], env={"OWN": "yes"})
    async with open_servers(path, environment() | {"GIVEN": "too"}) as servers:
        assert [tool.name for tool in servers.announced] == NAMES
        assert servers.announced[0].description == "Says it louder."
        assert json.loads(servers.announced[0].inputSchema)["required"] == ["text"]
        assert await servers.call("demo_shout", '{"text":"hi"}') == "HI"
        assert await servers.call("demo_variable", '{"name":"OWN"}') == "yes"
        assert await servers.call("demo_variable", '{"name":"GIVEN"}') == "too"
        for name, arguments, says in (
            ("demo_fail", "{}", "executing tool fail"),
            ("demo_shout", "[]", "JSON object"),
            ("demo_shout", "{}", "shout"),
            ("shout", "{}", "no MCP tool"),
        ):
            with pytest.raises(ToolRefused, match=says):
                await servers.call(name, arguments)


@contextmanager
def listening(port: int) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, SAMPLE, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for_port(port)
            yield
        finally:
            process.kill()


async def test_an_address_has_tools_too(tmp_path: Path) -> None:
    port = await asyncio.to_thread(free_port)
    path = config(tmp_path, url=f"http://127.0.0.1:{port}/mcp", headers={"X-Demo": "1"})
    serving = listening(port)
    await asyncio.to_thread(serving.__enter__)
    try:
        async with open_servers(path, {}) as servers:
            assert [tool.name for tool in servers.announced] == NAMES
            assert await servers.call("demo_shout", '{"text":"hi"}') == "HI"
    finally:
        await asyncio.to_thread(serving.__exit__, None, None, None)


@pytest.mark.parametrize(
    "server", [{"command": "no-such-program"}, {"url": "http://127.0.0.1:9/mcp"}]
)
async def test_a_server_that_does_not_answer_is_named(
    tmp_path: Path, server: dict[str, str]
) -> None:
    with pytest.raises(Malformed, match="demo does not answer"):
        async with open_servers(config(tmp_path, **server), environment()):
            pass


@pytest.mark.parametrize(
    "text", ["", "[]", '{"mcpServers":{"a":{}}}', '{"mcpServers":{"a":{"command":"x","url":"y"}}}']
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(text)
    with pytest.raises(Malformed, match="--mcp-config"):
        read(path)
    with pytest.raises(Malformed):
        read(tmp_path / "none.json")
