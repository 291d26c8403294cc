"""Feature flags in memory."""

from collections.abc import Callable, Mapping

from isthmus.core.flags import Flag, known


class MemoryFlags:
    """A FlagStore that holds what it is given."""

    def __init__(self, *flags: Flag) -> None:
        self._flags = {flag.name: flag for flag in flags}

    async def all(self) -> Mapping[str, Flag]:
        return dict(self._flags)

    async def change(self, name: str, apply: Callable[[Flag], Flag]) -> Flag:
        self._flags[name] = apply(self._flags.get(name, known(name)))
        return self._flags[name]
