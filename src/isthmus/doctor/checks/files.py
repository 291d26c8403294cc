"""Who may read the files that hold secrets: the made key, TLS keys, the database."""

import asyncio
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from isthmus.adapters.keysets.keyfile import FILE_NAME
from isthmus.app.database import database_file
from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject


async def check(case: Case) -> Sequence[Finding]:
    """A finding for each file that is there."""
    return await asyncio.to_thread(lambda: list(_look(case)))


def _look(case: Case) -> Iterator[Finding]:
    settings = case.settings
    own = settings.data_dir / FILE_NAME
    others = stat.S_IRWXG | stat.S_IRWXO
    yield from _file("files.signing_key", "data_dir", own, others, "600")
    for name, tls in (("http", settings.http.tls), ("grpc", settings.grpc.tls)):
        if tls.enabled and tls.key_file is not None:
            setting = f"{name}.tls.key_file"
            yield from _file(f"files.{name}_tls_key", setting, tls.key_file, stat.S_IRWXO, "640")
    client = settings.outbound.client_key_file or settings.outbound.client_cert_file
    if client is not None:
        setting = "outbound.client_key_file"
        yield from _file("files.client_key", setting, client, stat.S_IRWXO, "640")
    database = database_file(settings)
    if database is not None and _open_to_others(database.parent):
        yield from _file("files.database", "database.url", database, stat.S_IRWXO, "600")


def mounted_for_us(path: Path) -> bool:
    """Whether a container engine put it here: a read-only mount, in which modes say nothing."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _open_to_others(folder: Path) -> bool:
    """Whether others come as far as the files in a folder."""
    try:
        return bool(folder.stat().st_mode & stat.S_IXOTH)
    except OSError:
        return False


def _file(name: str, setting: str, path: Path, barred: int, mode: str) -> Iterator[Finding]:
    """A file that `barred` bits of the mode must not be set for; nothing when it is not there."""
    subject = Subject(name, str(path))
    try:
        about = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        mend = f"let this user ({os.geteuid()}) search its folder"
        yield subject.fail(f"it cannot be looked at: {error.strerror}", setting, mend)
        return
    if not os.access(path, os.R_OK):
        mend = f"chown {os.geteuid()} {path}"
        yield subject.fail("this user may not read it", setting, mend)
    elif about.st_mode & barred and not (mounted_for_us(path) and mode != "600"):
        cause = f"others on this machine may read or change it (mode {about.st_mode & 0o777:o})"
        yield subject.fail(cause, setting, f"chmod {mode} {path}")
    else:
        yield subject.ok(f"mode {about.st_mode & 0o777:o}")
