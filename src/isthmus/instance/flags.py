"""Feature flags as the instance asks for them."""

from collections.abc import Callable, Mapping

from isthmus.core.accounts import Place, User
from isthmus.core.errors import FieldError, Invalid
from isthmus.core.flags import FORWARDED, KNOWN, Flag, known
from isthmus.core.ports import FlagStore


class Flags:
    """Reads the store at every question, so that a change counts at once."""

    def __init__(self, store: FlagStore) -> None:
        self._store = store

    async def all(self) -> Mapping[str, Flag]:
        """Every flag that somebody reads, by name."""
        stored = await self._store.all()
        return {name: stored.get(name, known(name)) for name in KNOWN}

    async def on(self, name: str, place: Place | None = None, user: User | None = None) -> bool:
        """Whether a flag is on here, or for this user; one that nobody reads is off."""
        flag = (await self._store.all()).get(name)
        if flag is None:
            return KNOWN.get(name, False)
        return _on(flag, place, user)

    async def forwarded(self, place: Place | None, user: User) -> tuple[str, ...]:
        """The flags that a session is told of."""
        flags = await self.all()
        return tuple(name for name in FORWARDED if _on(flags[name], place, user))

    async def change(self, name: str, apply: Callable[[Flag], Flag]) -> Flag:
        """Set a flag. Raises Invalid for one that nobody reads."""
        if name not in KNOWN:
            reason = "there is no such flag"
            raise Invalid(f"{name[:100]!r}: {reason}", (FieldError("name", reason),))
        return await self._store.change(name, apply)


def _on(flag: Flag, place: Place | None, user: User | None) -> bool:
    return flag.on(
        namespace_id=None if place is None else place.root_id,
        user_id=None if user is None else user.id,
    )
