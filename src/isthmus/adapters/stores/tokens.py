"""Tokens of accounts in the database, by the digest of their text."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, or_, select, update

from isthmus.adapters.stores.account_tables import tokens
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.instants import micros, utc
from isthmus.adapters.stores.text import check_key, check_text, invalid, stored_id
from isthmus.core.accounts import NewToken, Token, TokenKind
from isthmus.core.errors import NotFound
from isthmus.core.ports import Clock

USER_CODE: Final = "user_code"
"""The detail of a device token that `pending` looks for."""
TOKENS_LIMIT: Final = 10_000
_DIGEST_BYTES: Final = 32
_TEXT_LIMIT: Final = 255
_DETAILS_BYTES: Final = 16 * 1024
_CODE_BYTES: Final = 64
# Long enough to be told "expired" rather than "unknown"; then whoever adds one sweeps it out.
_KEPT: Final = timedelta(days=30)
_COLUMNS: Final = tuple(tokens.columns)


class SqlTokenStore:
    """The TokenStore port over SQLite or PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, new: NewToken) -> Token:
        """Keep it. Raises Conflict when the digest is known; long expired ones are forgotten."""
        now = self._clock.utc()
        statement = insert(tokens).values(**_values(new), created_at_us=micros(now))
        swept = delete(tokens).where(tokens.c.expires_at_us < micros(now - _KEPT))

        def work(connection: Connection) -> Token:
            connection.execute(swept)
            return _token(connection.execute(statement.returning(*_COLUMNS)).one())

        return await self._database.write(work)

    async def find(self, digest: bytes, kinds: frozenset[TokenKind]) -> Token | None:
        """The token of one of these kinds, revoked and expired ones included."""
        statement = select(*_COLUMNS).where(tokens.c.digest == digest, tokens.c.kind.in_(kinds))
        return await self._database.read(lambda c: _maybe(c.execute(statement).one_or_none()))

    async def pending(self, user_code: str) -> Token | None:
        """The device token for which this code was shown; no more once it is approved or over."""
        check_key(USER_CODE, user_code, limit_bytes=_CODE_BYTES)
        statement = (
            select(*_COLUMNS)
            .where(tokens.c.user_code == user_code, *self._waiting())
            .order_by(tokens.c.id.desc())
            .limit(1)
        )
        return await self._database.read(lambda c: _maybe(c.execute(statement).one_or_none()))

    async def approve(self, token_id: int, user_id: int) -> None:
        """A user stands behind a device from now on.

        Raises NotFound for a token that waits for nobody: of two users one gets it.
        """
        statement = (
            update(tokens)
            .where(tokens.c.id == stored_id(token_id), *self._waiting())
            .values(user_id=user_id)
            .returning(tokens.c.id)
        )

        def work(connection: Connection) -> None:
            if connection.execute(statement).one_or_none() is None:
                raise NotFound("No device waits for this.")

        await self._database.write(work)

    async def take(self, digest: bytes, kind: TokenKind) -> Token | None:
        """Revoke it and return it as it was; None when it is unknown or revoked already."""
        statement = (
            update(tokens)
            .where(
                tokens.c.digest == digest, tokens.c.kind == kind, tokens.c.revoked_at_us.is_(None)
            )
            .values(revoked_at_us=micros(self._clock.utc()))
            .returning(*_COLUMNS)
        )

        def work(connection: Connection) -> Token | None:
            taken = _maybe(connection.execute(statement).one_or_none())
            return None if taken is None else replace(taken, revoked_at=None)

        return await self._database.write(work)

    async def revoke(self, token_id: int) -> None:
        """From now on it lets nobody in; doing it twice changes nothing."""
        statement = (
            update(tokens)
            .where(tokens.c.id == stored_id(token_id), tokens.c.revoked_at_us.is_(None))
            .values(revoked_at_us=micros(self._clock.utc()))
        )

        def work(connection: Connection) -> None:
            connection.execute(statement)

        await self._database.write(work)

    async def all(self, user_id: int, kind: TokenKind) -> Sequence[Token]:
        """The user's tokens of a kind that are not revoked, by id; at most 10,000."""
        statement = (
            select(*_COLUMNS)
            .where(
                tokens.c.user_id == stored_id(user_id),
                tokens.c.kind == kind,
                tokens.c.revoked_at_us.is_(None),
            )
            .order_by(tokens.c.id)
            .limit(TOKENS_LIMIT)
        )
        return await self._database.read(lambda c: [_token(row) for row in c.execute(statement)])

    def _waiting(self) -> Sequence[ColumnElement[bool]]:
        expires = tokens.c.expires_at_us
        return (
            tokens.c.kind == TokenKind.DEVICE,
            tokens.c.user_id.is_(None),
            tokens.c.revoked_at_us.is_(None),
            or_(expires.is_(None), expires > micros(self._clock.utc())),
        )


def _values(new: NewToken) -> Mapping[str, object]:
    if len(new.digest) != _DIGEST_BYTES:
        raise invalid("digest", f"must be {_DIGEST_BYTES} bytes long")
    check_text("name", new.name, limit=_TEXT_LIMIT)
    check_text("client_id", new.client_id, limit=_TEXT_LIMIT)
    for key, value in new.details.items():
        check_text("details", key + value, limit=_DETAILS_BYTES)
    details = msgspec.json.encode(new.details)
    scopes = " ".join(sorted(new.scopes))
    check_text("scopes", scopes, limit=_TEXT_LIMIT)
    if len(details) > _DETAILS_BYTES:
        raise invalid("details", f"must be at most {_DETAILS_BYTES} bytes long")
    user_code = new.details.get(USER_CODE) if new.kind is TokenKind.DEVICE else None
    check_key(USER_CODE, user_code or "", limit_bytes=_CODE_BYTES)
    return {
        "kind": new.kind,
        "digest": new.digest,
        "user_id": new.user_id,
        "scopes": scopes,
        "name": new.name,
        "client_id": new.client_id,
        "details": details.decode(),
        "user_code": user_code,
        "expires_at_us": None if new.expires_at is None else micros(new.expires_at),
    }


def _maybe(row: Row[tuple[object, ...]] | None) -> Token | None:
    return None if row is None else _token(row)


def _token(row: Row[tuple[object, ...]]) -> Token:
    return Token(
        id=row.id,
        kind=TokenKind(row.kind),
        user_id=row.user_id,
        scopes=frozenset(row.scopes.split()),
        name=row.name,
        client_id=row.client_id,
        created_at=utc(row.created_at_us),
        expires_at=_instant(row.expires_at_us),
        revoked_at=_instant(row.revoked_at_us),
        details=msgspec.json.decode(row.details, type=dict[str, str]),
    )


def _instant(at_us: int | None) -> datetime | None:
    return None if at_us is None else utc(at_us)
