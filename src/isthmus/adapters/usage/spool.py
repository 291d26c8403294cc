"""Batches as files, one each, until the database has them. Everything here blocks.

A file has its name once it is whole, so that a kill leaves a batch or none. Several processes may
share the folder: whoever comes first delivers a batch, and the store counts it once.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from isthmus.core.usage import UsageBatch

FILES_LIMIT: Final = 50_000
_SUFFIX: Final = ".json"
_ASIDE: Final = ".refused"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(UsageBatch).decode


class Spool:
    """The files in one folder, which is made when it is first needed."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def put(self, batch: UsageBatch) -> int:
        """Keep a batch; how many older ones had to go for it. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = _encode(batch)
        dropped = self._make_room(len(content))
        path = self._path(batch.id)
        part = path.with_suffix(".part")
        try:
            with open(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            part.rename(path)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        return dropped

    def ids(self) -> Sequence[str]:
        """The batches that are kept, the oldest first."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return ()
        return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))

    def read(self, batch_id: str) -> UsageBatch | None:
        """The batch; None when it is gone, or was not whole and is set aside now."""
        try:
            batch = _decode(self._path(batch_id).read_bytes())
        except OSError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.set_aside(batch_id)
            return None
        return batch

    def remove(self, batch_id: str) -> None:
        """Keep it no longer."""
        with suppress(OSError):
            self._path(batch_id).unlink(missing_ok=True)

    def set_aside(self, batch_id: str) -> None:
        """Leave the file for somebody to look at, and never read it again."""
        path = self._path(batch_id)
        with suppress(OSError):
            path.rename(path.with_suffix(_ASIDE))

    def _path(self, batch_id: str) -> Path:
        return self._folder / (batch_id + _SUFFIX)

    def _make_room(self, size_bytes: int) -> int:
        sizes: list[tuple[str, int]] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    sizes.append((entry.name, entry.stat().st_size))
        over_bytes = sum(size for _, size in sizes) + size_bytes - self._limit_bytes
        over_files = len(sizes) + 1 - FILES_LIMIT
        dropped = 0
        for name, size in sorted(sizes):
            if over_bytes <= 0 and over_files <= 0:
                break
            with suppress(OSError):
                (self._folder / name).unlink()
                over_bytes -= size
                over_files -= 1
                dropped += 1
        return dropped
