"""Lets people in at a browser: by password, by personal token, or by an identity provider."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from isthmus.auth.password import NOBODYS, matches
from isthmus.core.accounts import NewUser, TokenKind, User
from isthmus.core.errors import Conflict, NotFound, Unauthenticated
from isthmus.core.limits import LimitKey
from isthmus.core.ports import Limiter, UserStore
from isthmus.core.signin import IdentityProvider, Person, Visit
from isthmus.instance.accounts import PREFIX, Accounts, Minted, Wish

SESSION_TTL_S: Final = 12 * 3_600.0
WRONG: Final = "The username or the password is wrong."
_TRIES: Final = 20
"""Names that are tried for a new account before it is given up."""
_AT_ONCE: Final = 2
"""Passwords that are checked at once: each takes 32 MiB and a core."""
_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who says to be whom, with which proof, and from where."""

    username: str
    secret: str
    address: str


class SignIn:
    """Finds the account behind a proof. `provider` is None where accounts are local."""

    def __init__(
        self,
        users: UserStore,
        accounts: Accounts,
        limiter: Limiter,
        provider: IdentityProvider | None = None,
        check: Callable[[str, str], bool] = matches,
    ) -> None:
        self._users = users
        self._accounts = accounts
        self._limiter = limiter
        self._check = check
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self.provider = provider

    async def by_secret(self, attempt: Attempt) -> User:
        """By password, or by a personal token with scope `api` in its place.

        Raises Unauthenticated, or LimitExceeded after too many attempts.
        """
        name = attempt.username.strip().casefold()[:255]
        await self._limiter.take(LimitKey("sign_in", name, 20, 300.0), 1)
        await self._limiter.take(LimitKey("sign_in_from", attempt.address, 60, 300.0), 1)
        if attempt.secret.startswith(PREFIX[TokenKind.PERSONAL]):
            return await self._by_token(name, attempt.secret)
        try:
            user = await self._users.find(username=name)
        except NotFound:
            user = None
        kept = user.password if user is not None and user.active else ""
        async with self._turns:
            # An account that is not there takes as long as one that is.
            right = await asyncio.to_thread(self._check, attempt.secret, kept or NOBODYS)
        if user is None or not kept or not right:
            raise Unauthenticated(WRONG)
        return user

    async def by_provider(self, code: str, visit: Visit) -> User:
        """By what the identity provider says of who came back; a new person gets an account.

        Raises Unauthenticated, Unavailable.
        """
        if self.provider is None:
            raise Unauthenticated("There is no identity provider.")
        person = await self.provider.person(code, visit)
        try:
            user = await self._users.find(subject=person.subject)
        except NotFound:
            user = await self._created(person)
        if not user.active:
            raise Unauthenticated("This account is disabled.")
        return user

    async def session(self, user: User) -> Minted:
        """What the browser keeps as its cookie."""
        wish = Wish(TokenKind.BROWSER, frozenset({"api"}), SESSION_TTL_S, name="browser")
        return await self._accounts.mint(user, wish)

    async def _by_token(self, name: str, secret: str) -> User:
        kinds = frozenset({TokenKind.PERSONAL})
        try:
            member = await self._accounts.member(secret, kinds=kinds)
        except Unauthenticated as error:
            raise Unauthenticated(WRONG) from error
        if member.user.username.casefold() != name or "api" not in member.token.scopes:
            raise Unauthenticated(WRONG)
        return member.user

    async def _created(self, person: Person) -> User:
        wanted = username(person)
        for number in range(_TRIES):
            new = NewUser(
                username=f"{wanted}{number or ''}",
                name=(person.name or wanted)[:255],
                email=person.email if len(person.email) <= 320 else "",
                subject=person.subject,
            )
            try:
                return await self._users.create(new)
            except Conflict:
                try:  # two browsers of one new person: the other one was first
                    return await self._users.find(subject=person.subject)
                except NotFound:
                    continue
        raise Unauthenticated("No free username was found for this account.")


def username(person: Person) -> str:
    """What a person's account might be called: made of letters, digits, `_`, `-` and `.`."""
    wanted = person.username or person.email.partition("@")[0]
    plain = re.sub(r"\.{2,}", ".", _FOREIGN.sub("-", wanted.partition("@")[0]))
    plain = plain.strip("-.")[:100]
    # A number alone could not be told from an id.
    return f"user-{plain}" if plain.isdigit() else plain or "user"
