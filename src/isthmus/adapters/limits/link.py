"""The one script that shared counters are changed by, on a Valkey or Redis server."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha1
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import urlsplit

from valkey.asyncio.connection import (
    AbstractConnection,
    ConnectionPool,
    SSLConnection,
    ValkeySSLContext,
)
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

    def __init__(
        self, url: str, timeout_s: float, script: str, trust: ssl.SSLContext | None = None
    ) -> None:
        """`trust` is for a URL that names no authorities. Raises ValueError for no URL of ours."""
        self._timeout_s = timeout_s
        self._script = script
        self._sha = sha1(script.encode(), usedforsecurity=False).hexdigest()
        # The client's own limits are no use: on Python 3.11 they may swallow a cancellation.
        pool = ConnectionPool.from_url(
            url, socket_timeout=None, socket_connect_timeout=None, **_checks(url)
        )
        # One connection without a pool around it: a call costs half.
        self._connection: AbstractConnection = pool.make_connection()
        if trust is not None and isinstance(self._connection, SSLConnection):
            _lend(self._connection.ssl_context, trust)

    async def run(self, keys: Sequence[str], numbers: Sequence[str | int]) -> list[int]:
        """See `Link`."""
        arguments = (len(keys), *keys, *numbers)
        try:
            async with patient(self._timeout_s):
                await self._connection.connect()
                try:
                    return await self._call("EVALSHA", self._sha, *arguments)
                except NoScriptError:
                    return await self._call("EVAL", self._script, *arguments)
        except (ValkeyError, OSError, TimeoutError) as error:
            await self.close()
            raise StoreLostError(type(error).__name__) from error
        except asyncio.CancelledError:
            await self.close()
            raise

    async def _call(self, *words: str | int) -> list[int]:
        connection = self._connection
        await connection.send_packed_command(connection.pack_command(*words), check_health=False)
        return cast("list[int]", await connection.read_response())

    async def close(self) -> None:
        """Leave. The next call connects again: an answer that comes late is never read as its."""
        await self._connection.disconnect(nowait=True)


def _checks(url: str) -> dict[str, bool]:
    """A name that is not in the certificate is refused, which the client leaves to us."""
    return {"ssl_check_hostname": True} if urlsplit(url).scheme in {"rediss", "valkeys"} else {}


def _lend(own: ValkeySSLContext, trust: ssl.SSLContext) -> None:
    plain = own.ca_certs is None and own.ca_data is None and own.certfile is None
    if plain and own.check_hostname and own.cert_reqs is ssl.CERT_REQUIRED:
        own.context = trust


@asynccontextmanager
async def patient(timeout_s: float) -> AsyncIterator[None]:
    """Raises TimeoutError, as `asyncio.timeout` does, but never for a loop that stood still.

    The second half of the time begins when the loop has seen the end of the first; an answer that
    came while this process was kept from running has been read by then.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        half_s = timeout_s / 2
        half = loop.call_later(half_s, lambda: limit.reschedule(loop.time() + half_s))
        try:
            yield
        finally:
            half.cancel()
