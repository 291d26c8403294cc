"""Settings that are read again while the server runs: checked first, then taken at once."""

import asyncio
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from isthmus.app import models
from isthmus.app.foundation import Foundation
from isthmus.core.events import ConfigurationRead, Crashed
from isthmus.core.ports import Telemetry
from isthmus.settings import Settings, SettingsError, Source
from isthmus.settings_changes import changed, covered, mixed

OWN = "reload"
TAKEN = "taken"
RESTART = "needs a restart"

Stamps: TypeAlias = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Something that runs by settings under `paths`, and can run by others from now on.

    `prepare` builds what the new ones need and changes nothing; it runs in a thread, and raises
    SettingsError. What it returns swaps, on the loop, and cannot fail.
    """

    paths: tuple[str, ...]
    prepare: Callable[[Settings], Callable[[], None]]


def parts_of(foundation: Foundation) -> tuple[Part, ...]:
    """What needs no restart."""
    log = foundation.log
    logging = ("logging.level", "logging.access", "logging.json_lines")
    return (
        Part(logging, lambda settings: partial(log.adopt, settings.logging)),
        Part(models.PATHS, foundation.layer.prepare),
    )


class Reloader:
    """Holds the settings in force. `taken` is told of new ones, in a thread."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        parts: Sequence[Part],
        telemetry: Telemetry,
        taken: Callable[[Settings], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.paths = (OWN, *(path for part in parts for path in part.paths))
        self._source = source
        self._parts = tuple(parts)
        self._telemetry = telemetry
        self._taken = taken
        self._seen = self._stamps()

    async def run(self, asked: asyncio.Event) -> None:
        """Read again when `asked` is set, and when a file has changed and rests; for ever."""
        await asyncio.to_thread(self._taken, self.settings)
        before = self._seen
        while True:
            called = await _set_within(asked, self.settings.reload.watch_s)
            now = await asyncio.to_thread(self._stamps)
            # A file that is still being written may be valid, and say half of what it should.
            if called or (now != self._seen and now == before):
                asked.clear()
                self._seen = now
                await self.reload()
            before = now

    async def reload(self) -> bool:
        """Read, check, swap, and tell; whether the new settings were taken."""
        try:
            new = await asyncio.to_thread(self._source.read)
            wanted = mixed(self.settings, new, self._takes)
            swaps = await asyncio.to_thread(self._prepared, wanted)
        except SettingsError as error:
            self._telemetry.emit(ConfigurationRead(False, str(error)))
            return False
        except Exception as bug:  # noqa: BLE001 - a bug in what is new must not end what runs
            trace = "".join(traceback.format_exception(bug))
            self._telemetry.emit(Crashed("reload", type(bug).__name__, trace))
            self._telemetry.emit(ConfigurationRead(False, type(bug).__name__))
            return False
        for swap in swaps:
            swap()
        told = tuple(
            (path, TAKEN if self._takes(path) else RESTART) for path in changed(self.settings, new)
        )
        self.settings = wanted
        reason = "" if told else "nothing has changed"
        self._telemetry.emit(ConfigurationRead(True, reason, told))
        await asyncio.to_thread(self._taken, wanted)
        return True

    def _takes(self, path: str) -> bool:
        return covered(path, self.paths)

    def _prepared(self, settings: Settings) -> list[Callable[[], None]]:
        return [part.prepare(settings) for part in self._parts]

    def _stamps(self) -> Stamps:
        return tuple(_stamp(path) for path in self._source.files())


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file's content, or with the file behind its name."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


async def _set_within(event: asyncio.Event, limit_s: float) -> bool:
    """Whether the event was set within the limit; 0 is no limit."""
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s or None):
            await event.wait()
    return event.is_set()
