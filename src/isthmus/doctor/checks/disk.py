"""The data folder: there, writable, with room left."""

import asyncio
import errno
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject

LEAST_BYTES: Final = 16 * 1024 * 1024
FEW_BYTES: Final = 64 * 1024 * 1024
WANTED_BYTES: Final = 512 * 1024 * 1024
SMALL_SHARE: Final = 0.1
"""Of a volume: a small one that is mostly free is not full."""
LEAST_INODES: Final = 1_000
_TRIAL: Final = b"\0" * 65_536


async def check(case: Case) -> Sequence[Finding]:
    """A finding on the data folder, or on where it would be made, and one on the log's."""
    found = [await asyncio.to_thread(_look, case)]
    log = await asyncio.to_thread(_log, case)
    return found if log is None else [*found, log]


def _log(case: Case) -> Finding | None:
    path = case.settings.logging.file
    if path is None:
        return None
    subject = Subject("disk.log", f"{path} ({case.source('logging.file')})")
    folder = path.absolute().parent
    if not folder.is_dir():
        return subject.fail(f"there is no folder {folder}", "logging.file", f"mkdir -p {folder}")
    open_to_us = os.access(path if path.exists() else folder, os.W_OK)
    refused = "" if open_to_us and path.exists() else _refusal(folder)
    if refused or not open_to_us:
        mend = f"let this user ({os.geteuid()}) write it, or name another file"
        return subject.fail(refused or "this user may not write it", "logging.file", mend)
    return subject.ok()


def _look(case: Case) -> Finding:
    path = case.settings.data_dir.absolute()
    subject = Subject("disk", f"data_dir {path} ({case.source('data_dir')})")
    there = next(one for one in (path, *path.parents) if one.exists())
    if there == path and not path.is_dir():
        return subject.fail("it is no folder", "data_dir", "name a folder that may be written to")
    refused = _refusal(there)
    if refused:
        return subject.fail(refused, "data_dir", _mend(there, path))
    usage = shutil.disk_usage(there)
    state = os.statvfs(there)
    free = f"{usage.free / 1024**2:.0f} MiB free"
    mend = f"make room on that file system: df -h {there}"
    scarce = usage.free < usage.total * SMALL_SHARE
    if usage.free < LEAST_BYTES or (scarce and usage.free < FEW_BYTES):
        return subject.fail(f"the disk is full: {free}", "data_dir", mend)
    if state.f_files and state.f_favail < LEAST_INODES:
        return subject.fail("the disk has no inodes left", "data_dir", f"df -i {there}")
    if scarce and usage.free < WANTED_BYTES:
        return subject.warn(f"the disk is nearly full: {free}", "data_dir", mend)
    return subject.ok(free if there == path else f"{free}; it will be made at the first start")


def _refusal(folder: Path) -> str:
    """Why nothing can be written there; empty when it can."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as trial:
            trial.write(_TRIAL)
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        if error.errno == errno.EROFS:
            return f"{folder} is on a file system that is mounted read-only"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return "the disk, or this user's share of it, is full: make room there"
        return f"this user may not write to {folder} ({error.strerror})"
    return ""


def _mend(there: Path, path: Path) -> str:
    user = os.geteuid()
    return f"mount a writable volume there, or: install -d -o {user} -m 700 {path}" + (
        "" if there == path else " (as root)"
    )
