"""People who sign in elsewhere: who they are, how they come back, and the port to that place."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Person:
    """Whom an identity provider vouches for; `subject` is "<issuer> <sub>"."""

    subject: str
    username: str = ""
    name: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Visit:
    """One trip of a browser to an identity provider and back to `callback`.

    The provider repeats `state` in the address and `nonce` in what it signs; `verifier` proves that
    the one who comes back is the one who left.
    """

    callback: str
    state: str
    nonce: str
    verifier: str


class IdentityProvider(Protocol):
    """Where the people of a team sign in, by OpenID Connect."""

    @property
    def name(self) -> str:
        """Its host, for people to read."""
        ...

    async def address(self, visit: Visit) -> str:
        """Where to send the browser. Raises Unavailable."""
        ...

    async def person(self, code: str, visit: Visit) -> Person:
        """Who came back with this code. Raises Unauthenticated, Unavailable."""
        ...
