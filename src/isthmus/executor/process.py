"""Programs that actions start: no shell, bounded time and output, nothing left behind."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from isthmus.core.errors import ToolRefused

OUTPUT_LIMIT_BYTES = 256 * 1024
LINGER_S = 1.0
"""How long output of what a program left behind is still read after its end."""

_OURS = re.compile(r"(ISTHMUS|AIGW|DUO_WORKFLOW)_")
_SECRET = re.compile(
    r"TOKEN|SECRET|PASS(WORD|WD|PHRASE)|CREDENTIAL|(^|_)KEYS?($|_)|APIKEY|(^|_)AUTH($|_)|COOKIE"
    r"|(^|_)DSN$|SESSION_?ID|PRIVATE|NETRC"
)
_GIT_PAIR = re.compile(r"GIT_CONFIG_(COUNT|KEY_\d+|VALUE_\d+)$")
_GIT_LOGIN = re.compile(r"extraheader|credential|askpass|cookie|pass")
_PAIRS = 100
_LOGIN_IN_URL = re.compile(r"://[^/\s@]*:[^/\s@]*@")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a program may use. `errors` mixes what it writes to stderr into its output."""

    timeout_s: float
    output_bytes: int = OUTPUT_LIMIT_BYTES
    errors: bool = True


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended. `code` is None when its time was over; then `output` is partial."""

    code: int | None
    output: bytes


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """What a started program may see of our environment: no settings of ours, no secrets."""
    kept = {
        name: value
        for name, value in environment.items()
        if not _OURS.match(name.upper())
        and not _SECRET.search(name.upper())
        and not _GIT_PAIR.match(name)
        and not _LOGIN_IN_URL.search(value)
    }
    ours = {"AI_AGENT": "isthmus", "GIT_TERMINAL_PROMPT": "0", "PAGER": "cat"}
    return kept | git_settings(harmless_pairs(environment)) | ours


def secret_values(environment: Mapping[str, str]) -> list[str]:
    """The secrets among our variables, to be recognised where they show up; paths are none."""
    return [
        value
        for name, value in environment.items()
        if _SECRET.search(name.upper()) and not _GIT_PAIR.match(name) and not value.startswith("/")
    ]


def git_settings(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Variables that give git these settings; none for none."""
    if not pairs:
        return {}
    named = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs):
        named[f"GIT_CONFIG_KEY_{number}"], named[f"GIT_CONFIG_VALUE_{number}"] = key, value
    return named


def harmless_pairs(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Git's settings in the environment, in order, without those that hold a login."""
    count = environment.get("GIT_CONFIG_COUNT", "")
    pairs = [
        (environment.get(f"GIT_CONFIG_KEY_{n}", ""), environment.get(f"GIT_CONFIG_VALUE_{n}", ""))
        for n in range(min(int(count), _PAIRS) if count.isdecimal() else 0)
    ]
    return [
        (key, value)
        for key, value in pairs
        if key
        and not _GIT_LOGIN.search(key.lower())
        and not _LOGIN_IN_URL.search(key)
        and not _LOGIN_IN_URL.search(value)
    ]


async def run(
    argv: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    bounds: Bounds,
    stdin: bytes = b"",
) -> Finished:
    """Run a program to its end; its output comes as it was written.

    Its whole process group is killed when time is over, when we are cancelled, and at its end.
    Raises ToolRefused when it cannot be started.
    """
    if any("\0" in word for word in argv):
        raise ToolRefused("A command may not contain NUL characters.")
    # The library's own pipe would make `wait` wait for every process that holds it; ours does not.
    with _pipe() as (source, sink):
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=directory,
                env=dict(environment),
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=asyncio.subprocess.STDOUT if bounds.errors else asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolRefused(f"{argv[0]}: {error.strerror or 'cannot be started'}") from error
        finally:
            os.close(sink)
        return await _finished(process, source, bounds, stdin)


@contextmanager
def _pipe() -> Iterator[tuple[BinaryIO, int]]:
    """A pipe: its reading end as a file that is closed here, its writing end as a descriptor."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as source:
        yield source, writing


async def _finished(
    process: asyncio.subprocess.Process, source: BinaryIO, bounds: Bounds, stdin: bytes
) -> Finished:
    kept = _Kept(bounds.output_bytes)
    try:
        async with asyncio.timeout(bounds.timeout_s), _reading(source) as reader:
            await _followed(process, reader, kept, stdin)
    except TimeoutError:
        return Finished(None, kept.output())
    finally:
        _kill_group(process.pid)
        await _reaped(process)
    return Finished(process.returncode, kept.output())


@asynccontextmanager
async def _reading(source: BinaryIO) -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), source
    )
    try:
        yield reader
    finally:
        # Closed before anything is awaited: a second cancellation must not leave it open.
        transport.close()


async def _reaped(process: asyncio.subprocess.Process) -> None:
    """The end of a killed program, waited for however often we are cancelled meanwhile."""
    waiting = asyncio.ensure_future(process.wait())
    cancelled = False
    while not waiting.done():
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            cancelled = True
    await asyncio.sleep(0)
    if cancelled:
        raise asyncio.CancelledError


async def _followed(
    process: asyncio.subprocess.Process, reader: asyncio.StreamReader, kept: "_Kept", stdin: bytes
) -> None:
    async with asyncio.TaskGroup() as group:
        draining = group.create_task(_drain(reader, kept))
        if stdin:
            group.create_task(_feed(process, stdin))
        await process.wait()
        _kill_group(process.pid)
        done, _ = await asyncio.wait([draining], timeout=LINGER_S)
        if not done:
            draining.cancel()


async def _drain(reader: asyncio.StreamReader, kept: "_Kept") -> None:
    while chunk := await reader.read(65_536):
        kept.add(chunk)


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    if process.stdin is not None:
        with suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(data)
            await process.stdin.drain()
            process.stdin.close()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


class _Kept:
    """The beginning and the end of an output of any length."""

    def __init__(self, limit_bytes: int) -> None:
        self._half = limit_bytes // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, chunk: bytes) -> None:
        room = max(0, self._half - len(self._head))
        self._head += chunk[:room]
        self._tail += chunk[room:]
        over = len(self._tail) - self._half
        if over > 0:
            del self._tail[:over]
            self._dropped += over

    def output(self) -> bytes:
        if not self._dropped:
            return bytes(self._head + self._tail)
        note = f"\n[... {self._dropped} bytes left out ...]\n".encode()
        return bytes(self._head + note + self._tail)
