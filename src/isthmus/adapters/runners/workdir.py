"""Folders of jobs that run on this machine: a log, and a working copy of their own."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from isthmus.core.errors import Rejected, Unavailable
from isthmus.core.job import RunnerJob
from isthmus.settings_runners import SubprocessRunner

_PROJECT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*){0,20}")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+#-]{0,250}")


def source_of(settings: SubprocessRunner, job: RunnerJob) -> str:
    """The repository that a job clones; empty for none. Raises Rejected."""
    if job.branch and not _BRANCH.fullmatch(job.branch):
        raise Rejected("this branch cannot be checked out")
    if "{project}" not in settings.source:
        return settings.source
    if not _PROJECT.fullmatch(job.project):
        raise Rejected("the session belongs to no project that could be cloned")
    return settings.source.replace("{project}", job.project)


async def prepare(
    folder: Path, settings: SubprocessRunner, job: RunnerJob, environment: Mapping[str, str]
) -> Path:
    """The directory that the job works in. Raises Rejected, Unavailable."""
    source = source_of(settings, job)
    if settings.directory is not None:
        return settings.directory
    work = folder / "work"
    if not source:
        await asyncio.to_thread(work.mkdir)
        return work
    branch = ("--branch", job.branch) if job.branch else ()
    command = ("git", "clone", "--quiet", *branch, "--", source, str(work))
    await asyncio.to_thread(_cloned, command, environment, settings.clone_s)
    return work


def _cloned(command: tuple[str, ...], environment: Mapping[str, str], limit_s: float) -> None:
    try:
        subprocess.run(  # noqa: S603 - words of the operator's, and checked ones
            command,
            env={**environment, "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable("the working copy could not be made") from error


def trim(folder: Path, keep: int, running: frozenset[str]) -> None:
    """Remove the oldest folders of jobs beyond `keep`; those of `running` ones stay."""
    found = sorted(
        (path for path in folder.iterdir() if path.is_dir() and path.name not in running),
        key=lambda path: path.stat().st_mtime,
        reverse=True,
    )
    for path in found[keep:]:
        shutil.rmtree(path, ignore_errors=True)
