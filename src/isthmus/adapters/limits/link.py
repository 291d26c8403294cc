"""The one script that shared counters are changed by, on a Valkey or Redis server."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Protocol, cast

from valkey.asyncio import Valkey
from valkey.exceptions import NoScriptError, ValkeyError

SCRIPT = Path(__file__).with_name("take.lua")


class StoreLostError(Exception):
    """The store did not answer, or not in time; whether it did what was asked is not known."""


class Link(Protocol):
    """A store of shared counters."""

    async def run(self, keys: Sequence[str], numbers: Sequence[str | int]) -> list[int]:
        """Run the script. Raises StoreLostError."""
        ...


class ValkeyLink:
    """A connection, opened when it is needed. Calls do not overlap."""

    def __init__(self, url: str, timeout_s: float, script: str) -> None:
        self._timeout_s = timeout_s
        self._script = script
        self._sha = sha1(script.encode(), usedforsecurity=False).hexdigest()
        # The client's own limits are no use: on Python 3.11 they may swallow a cancellation.
        self._client: Valkey = Valkey.from_url(
            url, socket_timeout=None, socket_connect_timeout=None
        )

    async def run(self, keys: Sequence[str], numbers: Sequence[str | int]) -> list[int]:
        """See `Link`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._run([*keys, *numbers], len(keys))
        except (ValkeyError, OSError, TimeoutError) as error:
            await self.close()
            raise StoreLostError(type(error).__name__) from error
        except asyncio.CancelledError:
            await self.close()
            raise

    async def _run(self, arguments: list[str | int], keys: int) -> list[int]:
        call = cast("Callable[..., Awaitable[object]]", self._client.execute_command)
        try:
            answer = await call("EVALSHA", self._sha, keys, *arguments)
        except NoScriptError:
            answer = await call("EVAL", self._script, keys, *arguments)
        return cast("list[int]", answer)

    async def close(self) -> None:
        """Leave. The next call connects again: an answer that comes late is never read as its."""
        await self._client.connection_pool.disconnect(inuse_connections=True)
