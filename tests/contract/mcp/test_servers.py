"""MCP servers of our own: real ones over pipes and over HTTP, good ones and bad ones."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from isthmus.adapters.mcp.link import LONGEST_PAUSE_S, named, pause_s
from isthmus.adapters.mcp.servers import McpServers, open_servers
from isthmus.core.errors import ToolRefused
from isthmus.core.events import Crashed, Noted
from isthmus.platform.mcp import OUR_WARNING
from isthmus.platform.tool import Client, Tool
from isthmus.settings import McpServer
from tests.support.instance import Machine
from tests.support.ports import free_port
from tests.support.process import wait_for_port
from tests.support.sink import MemorySink

HERE = Path(__file__).parent
SAMPLE = str(HERE.parent / "executor" / "mcp_sample.py")
HOSTILE = str(HERE / "hostile.py")


class Opened:
    """Servers, and what was told of them."""

    def __init__(self, servers: McpServers, sink: MemorySink) -> None:
        self.servers, self.sink = servers, sink

    async def tools(self, definition: str = "chat") -> Mapping[str, Tool]:
        return await self.servers.offered(definition)

    async def call(self, tool: str, /, **args: object) -> str:
        return await (await self.tools())[tool].run(args, cast("Client", Machine()))

    @property
    def notes(self) -> list[str]:
        return [note.event for note in self.sink.of(Noted)]


@asynccontextmanager
async def opened(taken: Collection[str] = (), **servers: dict[str, Any]) -> AsyncIterator[Opened]:
    sink = MemorySink()
    wanted = {name: McpServer(**fields) for name, fields in servers.items()}
    async with open_servers(wanted, taken, sink) as found:
        yield Opened(found, sink)
    assert not sink.of(Crashed)


def program(file: str, *args: str, **fields: Any) -> dict[str, Any]:
    return {"command": sys.executable, "args": (file, *args), **fields}


def hostile(kind: str, **fields: Any) -> dict[str, Any]:
    return program(HOSTILE, kind, **fields)


async def until(holds: Callable[[], object]) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came to that")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()


async def test_a_programs_tools_are_offered_under_its_name() -> None:
    async with opened(demo=program(SAMPLE, env={"OWN": "yes"})) as stand:
        tools = await stand.tools()
        assert list(tools) == ["demo_shout", "demo_variable", "demo_fail"]
        shout = tools["demo_shout"]
        assert (shout.effect, shout.trust, shout.agreed) == ("mcp", "mcp", False)
        assert shout.description == f"{OUR_WARNING}\nSays it louder."
        assert shout.schema is not None
        assert shout.schema["required"] == ["text"]
        assert await stand.call("demo_shout", text="hi") == "HI"
        assert await stand.call("demo_variable", name="OWN") == "yes"
        with pytest.raises(ToolRefused, match="executing tool fail"):
            await stand.call("demo_fail")
        with pytest.raises(ToolRefused, match="text"):
            await stand.call("demo_shout")
        assert stand.notes == ["an MCP server is connected"]


async def test_a_program_gets_none_of_our_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_AUTH__SIGNING_KEY", "s3cret")
    async with opened(demo=program(SAMPLE)) as stand:
        assert await stand.call("demo_variable", name="ISTHMUS_AUTH__SIGNING_KEY") == "unset"


async def test_nothing_is_started_before_a_session_wants_it(tmp_path: Path) -> None:
    state = tmp_path / "pids"
    server = program(HOSTILE, "good", str(state))
    async with opened(demo=server) as stand:
        await asyncio.sleep(0.2)
        assert not state.exists()
        await asyncio.gather(*(stand.tools() for _ in range(5)))
        await stand.tools()
        assert len(state.read_text().split()) == 1
        (pid,) = map(int, state.read_text().split())
        assert alive(pid)
    assert not alive(pid)


@contextmanager
def listening(port: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, SAMPLE, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for_port(port)
            yield process
        finally:
            process.kill()


async def test_an_address_is_reached_and_reached_again_after_a_restart() -> None:
    port = await asyncio.to_thread(free_port)
    address = {"url": f"http://127.0.0.1:{port}/mcp", "headers": {"X-Demo": "1"}, "call_s": 5}
    first, second = listening(port), listening(port)
    await asyncio.to_thread(first.__enter__)
    try:
        async with opened(demo=address) as stand:
            assert await stand.call("demo_shout", text="hi") == "HI"
            await asyncio.to_thread(first.__exit__, None, None, None)
            with pytest.raises(ToolRefused):
                await stand.call("demo_shout", text="hi")
            await asyncio.to_thread(second.__enter__)
            await until(lambda: stand.notes.count("an MCP server is connected") == 2)
            assert await stand.call("demo_shout", text="again") == "AGAIN"
    finally:
        await asyncio.to_thread(second.__exit__, None, None, None)


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ({"command": "no-such-program"}, "FileNotFoundError"),
        ({"url": "http://127.0.0.1:9/mcp"}, ""),
        (hostile("dead"), ""),
        (hostile("mute", connect_s=2), "TimeoutError"),
        (hostile("huge_list"), ""),
    ],
    ids=["no program", "no port", "dead", "mute", "huge list"],
)
async def test_a_server_that_is_down_keeps_no_session_waiting(
    server: dict[str, Any], reason: str
) -> None:
    async with opened(bad=server, demo=program(SAMPLE)) as stand, asyncio.timeout(15):
        tools = await stand.tools()
        assert {name.partition("_")[0] for name in tools} == {"demo"}
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await stand.tools()
        assert loop.time() - began_s < 1
        await until(lambda: "an MCP server cannot be used" in stand.notes)
        note = next(n for n in stand.sink.of(Noted) if n.event.endswith("cannot be used"))
        details = dict(note.details)
        assert details["server"] == "bad"
        assert details["reason"] == reason or not reason


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("slow", "within"),
        ("dying", "failed"),
        ("huge_result", "failed"),
        ("no_result", "failed"),
    ],
)
async def test_a_call_that_goes_wrong_is_refused_and_the_next_one_can_go_well(
    kind: str, says: str
) -> None:
    async with opened(bad=hostile(kind, call_s=1)) as stand, asyncio.timeout(20):
        with pytest.raises(ToolRefused, match=says):
            await stand.call("bad_echo", a=1)
        assert "bad_echo" in await stand.tools()


async def test_a_program_that_died_is_started_again(tmp_path: Path) -> None:
    state = tmp_path / "pids"
    async with opened(bad=program(HOSTILE, "good", str(state))) as stand, asyncio.timeout(20):
        assert await stand.call("bad_echo", a=1) == 'echo: {"a": 1}'
        os.kill(int(state.read_text()), 9)
        await until(lambda: "an MCP server was lost" in stand.notes)
        (lost,) = (note for note in stand.sink.of(Noted) if note.event.endswith("was lost"))
        assert lost.details == (("server", "bad"), ("reason", "closed"))
        assert await stand.call("bad_echo", a=2) == 'echo: {"a": 2}'
        assert len(state.read_text().split()) == 2


async def test_a_server_that_comes_and_goes_is_started_less_and_less(tmp_path: Path) -> None:
    state = tmp_path / "pids"
    async with opened(bad=program(HOSTILE, "flapping", str(state))) as stand:
        await stand.tools()
        await asyncio.sleep(4.5)
    assert 2 <= len(state.read_text().split()) <= 3


def test_pauses_grow_to_a_limit() -> None:
    assert [pause_s(n) for n in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 8.0]
    assert pause_s(10_000) == LONGEST_PAUSE_S


async def test_endless_lists_and_large_words_are_cut() -> None:
    servers = {"endless": hostile("endless"), "large": hostile("large_words")}
    async with opened(**servers) as stand, asyncio.timeout(20):
        tools = await stand.tools()
        assert len(tools) == 101
        large = tools["large_echo"]
        assert len(large.description) < 9_000
        assert large.schema == {"type": "object", "properties": {}}
        assert "an MCP server has more tools than `max_tools`" in stand.notes


async def test_no_name_takes_the_place_of_ours_or_of_another_servers() -> None:
    servers = {"read": hostile("shadowing"), "read_x": hostile("good"), "read-x": hostile("good")}
    async with opened(taken=("read_file",), **servers) as stand:
        tools = await stand.tools()
        assert "read_file" not in tools
        assert [name for name in tools if name.startswith("read_")] == [
            *("read_a", "read_x____y", "read_x_echo", "read_x_other"),
        ]
        assert {"read", "read-x_echo"} <= set(tools)
        assert all(len(name) <= 128 for name in tools)
        assert stand.notes.count("a tool of an MCP server is not offered: its name is taken") == 1
        await stand.tools()
        assert stand.notes.count("a tool of an MCP server is not offered: its name is taken") == 1


async def test_a_schema_of_answers_that_is_meant_to_hurt_is_not_used() -> None:
    async with opened(bad=hostile("schema")) as stand, asyncio.timeout(5):
        assert await stand.call("bad_echo") == "fine"


async def test_noise_is_passed_by(capfd: pytest.CaptureFixture[str]) -> None:
    async with opened(bad=hostile("noisy")) as stand, asyncio.timeout(20):
        assert await stand.call("bad_echo", a=1) == 'echo: {"a": 1}'
    assert "s3cret" not in capfd.readouterr().err


async def test_what_a_program_started_goes_with_it() -> None:
    async with opened(bad=hostile("lingering")) as stand:
        await stand.tools()
        assert len(_lingering()) == 2
    await until(lambda: not _lingering())


def _lingering() -> list[Path]:
    return [path for path in Path("/proc").glob("[0-9]*/cmdline") if _lingers(path)]


def _lingers(path: Path) -> bool:
    try:
        return f"{HOSTILE}\0lingering".encode() in path.read_bytes()
    except OSError:
        return False


async def test_settings_choose_tools_and_flows() -> None:
    servers = {
        "a": hostile("good", allow=("o*",)),
        "b": hostile("good", deny=("o*",)),
        "c": hostile("good", definitions=("developer", "x/v1"), approve="always", trusted=True),
        "d": hostile("good", max_tools=1),
    }
    async with opened(**servers) as stand:
        assert sorted(await stand.tools()) == ["a_other", "b_echo", "d_echo"]
        whole = await stand.tools("developer/v1")
        assert sorted(whole) == ["a_other", "b_echo", "c_echo", "c_other", "d_echo"]
        assert "c_echo" in await stand.tools("x/v1")
        assert "c_echo" not in await stand.tools("x/experimental")
        assert whole["c_echo"].agreed
        assert whole["c_echo"].description == "Says it."


async def test_calls_at_once_are_apart() -> None:
    async with opened(demo=program(SAMPLE)) as stand:
        said = await asyncio.gather(*(stand.call("demo_shout", text=f"a{n}") for n in range(50)))
    assert said == [f"A{n}" for n in range(50)]


async def test_a_call_that_is_given_up_leaves_the_server_to_others() -> None:
    async with opened(demo=program(SAMPLE), bad=hostile("slow")) as stand:
        await stand.tools()
        call = asyncio.ensure_future(stand.call("bad_echo"))
        await asyncio.sleep(0.1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert "bad_echo" in await stand.tools()
        assert stand.notes.count("an MCP server was lost") == 0


def test_a_group_of_failures_is_named_by_its_members() -> None:
    inner = ExceptionGroup("two", [OSError("x"), ValueError("y")])
    assert named(ExceptionGroup("one", [inner, OSError("z")])) == "OSError, ValueError"
    assert named(KeyError("k")) == "KeyError"
