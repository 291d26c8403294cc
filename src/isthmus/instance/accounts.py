"""Who stands behind a token of the instance API, and what the token lets it do."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from isthmus.core.accounts import LETTING_IN, Member, NewToken, Token, TokenKind, User
from isthmus.core.errors import Forbidden, InsufficientScope, NotFound, Unauthenticated
from isthmus.core.ports import Clock, TokenStore, UserStore

PREFIX: Final = {TokenKind.PERSONAL: "glpat-", TokenKind.OAUTH: "gloat-", TokenKind.FLOW: "gloft-"}
TOKEN_LIMIT_CHARS: Final = 512
_UNKNOWN: Final = "401 Unauthorized"


@dataclass(frozen=True, slots=True)
class Minted:
    """A new token: its text, which is kept nowhere, and its record."""

    text: str
    token: Token


@dataclass(frozen=True, slots=True)
class Wish:
    """A token to be minted; `ttl_s` None: it never expires."""

    kind: TokenKind
    scopes: frozenset[str]
    ttl_s: float | None = None
    name: str = ""
    client_id: str = ""
    details: Mapping[str, str] = field(default_factory=dict[str, str])


class Accounts:
    """Finds members by token, and mints tokens."""

    def __init__(self, users: UserStore, tokens: TokenStore, clock: Clock) -> None:
        self._users = users
        self._tokens = tokens
        self._clock = clock

    async def member(
        self,
        text: str,
        *,
        through_relay: bool = False,
        kinds: frozenset[TokenKind] = LETTING_IN,
    ) -> Member:
        """Who this token lets in, if it is of one of these kinds. Raises Unauthenticated."""
        if not text or len(text) > TOKEN_LIMIT_CHARS:
            raise Unauthenticated(_UNKNOWN)
        token = await self._tokens.find(digest(text), kinds)
        if token is None or not self.current(token) or token.user_id is None:
            raise Unauthenticated(_UNKNOWN)
        try:
            user = await self._users.get(token.user_id)
        except NotFound as error:
            raise Unauthenticated(_UNKNOWN) from error
        if not user.active:
            raise Unauthenticated(_UNKNOWN)
        return Member(user, token, through_relay)

    def current(self, token: Token) -> bool:
        """Whether the token is neither revoked nor expired."""
        expires = token.expires_at
        return token.revoked_at is None and (expires is None or expires > self._clock.utc())

    async def revoke_flow(self, member: Member, text: str) -> None:
        """Throw away a session's token; one that nobody knows is no error.

        Raises Forbidden when it is another user's, or no session's.
        """
        token = None
        if len(text) <= TOKEN_LIMIT_CHARS:
            token = await self._tokens.find(digest(text), LETTING_IN)
        if token is None:
            return
        if token.user_id != member.user.id or token.kind is not TokenKind.FLOW:
            raise Forbidden("")
        await self._tokens.revoke(token.id)

    async def end(self, member: Member) -> None:
        """The token that the member came with lets nobody in any more."""
        await self._tokens.revoke(member.token.id)

    async def mint(self, user: User | None, wish: Wish) -> Minted:
        """A new token of the user's; None for a device that nobody has approved yet."""
        text = PREFIX.get(wish.kind, "") + secrets.token_urlsafe(32)
        ends = None
        if wish.ttl_s is not None:
            ends = self._clock.utc() + timedelta(seconds=wish.ttl_s)
        new = NewToken(
            kind=wish.kind,
            digest=digest(text),
            user_id=None if user is None else user.id,
            scopes=wish.scopes,
            name=wish.name,
            client_id=wish.client_id,
            expires_at=ends,
            details=wish.details,
        )
        return Minted(text, await self._tokens.add(new))


def digest(text: str) -> bytes:
    """What is kept of a token. Its text has 256 random bits: one round of SHA-256 is enough."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def require(member: Member, *any_of: str) -> None:
    """Raises InsufficientScope unless the token holds one of these scopes."""
    if member.token.scopes.isdisjoint(any_of):
        detail = "The request requires higher privileges than provided by the access token."
        raise InsufficientScope(detail, any_of)
