"""All keys that one listener trusts: its own, and those of its issuers, joined into one set."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from isthmus.adapters.keysets.jwks import Fetching, Issuer
from isthmus.core.beside import beside
from isthmus.core.errors import Unavailable
from isthmus.core.ports import VerificationKey
from isthmus.settings import AuthSettings


class MergedKeys:
    """A KeySet of fixed keys and of issuers' keys. Whoever runs the issuers owns their tasks."""

    def __init__(
        self, fixed: Sequence[VerificationKey] = (), issuers: Sequence[Issuer] = ()
    ) -> None:
        self._fixed = tuple(fixed)
        self._issuers = tuple(issuers)

    async def keys(self, kid: str | None) -> Sequence[VerificationKey]:
        """The keys named `kid` first, then every other one: the name is only a hint.

        Waits for issuers only when no key at hand has the name. A token without one waits for the
        first fetch alone. Raises Unavailable when no key at all can be had.
        """
        held = self._held()
        if kid is None or all(key.kid != kid for key in held):
            await self._seek([i for i in self._issuers if kid is not None or not i.tried])
            held = self._held()
        if not held:
            raise Unavailable("No key to verify tokens with is available")
        return sorted(held, key=lambda key: key.kid != kid)

    def _held(self) -> list[VerificationKey]:
        return [*self._fixed, *(key for issuer in self._issuers for key in issuer.held())]

    async def _seek(self, issuers: Sequence[Issuer]) -> None:
        async with asyncio.TaskGroup() as group:
            for issuer in issuers:
                group.create_task(issuer.seek())


@asynccontextmanager
async def open_keys(
    fixed: Sequence[VerificationKey], issuers: Sequence[str], fetching: Fetching
) -> AsyncIterator[MergedKeys]:
    """The key set of a listener; its issuers are fetched in the background until this closes.

    Nothing is waited for here. Raises ValueError when an issuer is not a plain http(s) URL.
    """
    sources = [Issuer(url, fetching) for url in dict.fromkeys(issuers)]
    async with beside(*(source.run() for source in sources)):
        yield MergedKeys(fixed, sources)


def gateway_issuers(settings: AuthSettings) -> tuple[str, ...]:
    """Issuers whose tokens the HTTP listener accepts. An empty setting calls none."""
    return _named(settings.gitlab_url, settings.customer_portal_url, *settings.issuers)


def platform_issuers(settings: AuthSettings) -> tuple[str, ...]:
    """The same for the gRPC listener, whose own settings come before the gateway's."""
    return _named(
        settings.platform_gitlab_url or settings.gitlab_url,
        settings.platform_customer_portal_url or settings.customer_portal_url,
        *settings.issuers,
    )


def _named(*urls: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(url.strip().rstrip("/") for url in urls if url.strip()))
