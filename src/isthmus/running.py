"""What a running server goes by, kept in its data folder so that `config diff` can compare.

The file is for its owner alone, and is locked for as long as the server lives. It holds no secret:
text with secrets masked, and for a value that has one a salted digest, to see whether it changed.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import scrypt
from pathlib import Path
from typing import Final, cast

import msgspec
from msgspec import Struct
from pydantic import BaseModel, SecretStr

from isthmus.redaction.rules import redact
from isthmus.settings import Settings, Source
from isthmus.settings_changes import covered, value_at
from isthmus.settings_sources import leaves

MASK: Final = "**********"
_SECRET: Final = re.compile(r"(?i)key|secret|token$|password|authorization")


class Shown(Struct, frozen=True):
    """A setting: its masked text, and a digest when that does not say all of it."""

    text: str
    digest: str = ""


class Snapshot(Struct, frozen=True):
    """A server's settings by path. `file` and `flags` are where it reads them; `takes` are paths
    below which a reload is enough.
    """

    salt: str
    file: str | None
    flags: dict[str, str]
    takes: tuple[str, ...]
    values: dict[str, Shown]


class Difference(Struct, frozen=True):
    """A setting that is written otherwise than it is in force."""

    path: str
    old: str
    new: str
    restart: bool


class Running:
    """The snapshot of this process; `write` it again when settings were taken."""

    def __init__(self, source: Source, takes: Sequence[str]) -> None:
        self._source = source
        self._takes = tuple(takes)
        self._held: tuple[Path, int] | None = None

    def write(self, settings: Settings) -> None:
        """Replace it in one step. Raises OSError."""
        salt = os.urandom(16).hex()
        file = self._source.file
        flags = {name: str(value) for name, value in self._source.flags.items() if value}
        shot = Snapshot(
            salt,
            str(file.absolute()) if file else None,
            flags,
            self._takes,
            {leaf.path: seen(value_at(settings, leaf.path), salt) for leaf in leaves(Settings)},
        )
        path = settings.data_dir / f"running-{'-'.join(settings.transports)}.json"
        new = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, msgspec.json.encode(shot))
        new.replace(path)
        self._let_go()
        self._held = path, descriptor

    def close(self) -> None:
        """The server ends."""
        if self._held is not None:
            self._held[0].unlink(missing_ok=True)
            self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held[1])
            self._held = None


def snapshots(data_dir: Path) -> Iterator[Snapshot]:
    """Those of servers that live."""
    for path in sorted(data_dir.glob("running-*.json")):
        with suppress(OSError, msgspec.DecodeError), path.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield msgspec.json.decode(stream.read(), type=Snapshot)


def differences(running: Snapshot, written: Settings) -> list[Difference]:
    """What would change, were the written settings read now."""
    found: list[Difference] = []
    for leaf in leaves(Settings):
        old = running.values.get(leaf.path, Shown(""))
        new = seen(value_at(written, leaf.path), running.salt)
        if old != new:
            restart = not covered(leaf.path, running.takes)
            found.append(Difference(leaf.path, old.text, new.text, restart))
    return found


def seen(value: object, salt: str) -> Shown:
    """A value as a snapshot keeps it."""
    text, whole = shown(value), _dumped(_plain(value, bare=True))
    if text == whole:
        return Shown(text)
    # Slow on purpose: who reads the file must not find a weak password by trying.
    digest = scrypt(whole.encode(), salt=salt.encode(), n=2**12, r=8, p=1, dklen=16)
    return Shown(text, digest.hex())


def shown(value: object) -> str:
    """A value on one line of YAML; what is secret, and a password in an address, is masked."""
    plain = _plain(value)
    return _dumped(redact(plain) if isinstance(plain, str) else plain)


def _dumped(plain: object) -> str:
    import yaml  # noqa: PLC0415 - it takes time, and answers come first

    text = yaml.safe_dump(plain, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _plain(value: object, name: str = "", *, bare: bool = False) -> object:
    """A value as YAML takes it; unless `bare`, what is secret, or called so, is masked."""
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return text if bare or not text else MASK
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(exclude_none=True), bare=bare)
    if isinstance(value, Mapping):
        held = cast("Mapping[str, object]", value)
        return {key: _plain(item, key, bare=bare) for key, item in held.items()}
    if isinstance(value, tuple | list):
        items = cast("Sequence[object]", value)
        return [_plain(item, name, bare=bare) for item in items]
    return MASK if not bare and value and _SECRET.search(name) else value
