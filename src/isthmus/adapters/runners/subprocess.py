"""Runs jobs as processes of this machine, each in a session and a folder of its own.

A job outlives a server that stops: it waits for the next one, and can be stopped by it.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from isthmus.adapters.runners import workdir
from isthmus.core.beside import beside
from isthmus.core.errors import Unavailable
from isthmus.core.job import RunnerJob, RunnerRef
from isthmus.settings_runners import SubprocessRunner as Settings

INHERITED: Final = frozenset(
    {
        *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONPATH", "VIRTUAL_ENV"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "no_proxy"),
        *("ISTHMUS_OUTBOUND__CA_FILE", "ISTHMUS_OUTBOUND__CA_ONLY", "GIT_SSL_CAINFO"),
    }
)
"""What a job gets of our own environment."""
POLL_S: Final = 0.5


class SubprocessRunner:
    """`environment` is the server's own; jobs get little of it."""

    def __init__(self, settings: Settings, data_dir: Path, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._folder = data_dir.absolute() / "jobs"
        self._environment = {n: v for n, v in environment.items() if n in INHERITED}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._starting = 0

    async def watch(self) -> None:
        """Count jobs that ended; until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            self._reap()

    async def start(self, job: RunnerJob) -> RunnerRef:
        """Prepare a working copy and start the executor in it. Raises Rejected, Unavailable."""
        self._reap()
        if len(self._running) + self._starting >= self._settings.concurrency:
            raise Unavailable("as many jobs run as may; try again later")
        self._starting += 1
        try:
            return await self._started(job)
        finally:
            self._starting -= 1

    async def stop(self, ref: RunnerRef) -> None:
        """Ask the job to stop, and kill it when it does not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            pid = await asyncio.to_thread(_pid_of, ref.id)
            if pid is None:
                break
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.stop_s):
                    # It may be the job of a server before us: nobody tells when such a one ends.
                    while await asyncio.to_thread(_pid_of, ref.id) is not None:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
        self._reap()

    async def _started(self, job: RunnerJob) -> RunnerRef:
        name = f"{job.workflow_id}-{secrets.token_hex(4)}"
        folder = self._folder / name
        await asyncio.to_thread(self._made, folder)
        work = await workdir.prepare(folder, self._settings, job, self._environment)
        process = await asyncio.to_thread(self._spawned, folder, work, job)
        self._running[name] = process
        ticks = await asyncio.to_thread(_ticks, process.pid)
        return RunnerRef(f"{process.pid}:{ticks}:{name}", process.pid)

    def _made(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True)
            workdir.trim(
                self._folder, self._settings.keep, frozenset((*self._running, folder.name))
            )
        except OSError as error:
            raise Unavailable("the job's folder could not be made") from error

    def _spawned(self, folder: Path, work: Path, job: RunnerJob) -> "subprocess.Popen[bytes]":
        program = (sys.executable, "-m", "isthmus", "executor", "--headless")
        command = (*program, "--workspace", str(work), *job.arguments)
        try:
            with (folder / "log.txt").open("wb") as log:
                # Not in the working copy: its files are no settings of ours.
                return subprocess.Popen(  # noqa: S603 - our own program
                    command,
                    cwd=folder,
                    env={**self._environment, **job.variables},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            raise Unavailable("the job could not be started") from error

    def _reap(self) -> None:
        for name, process in list(self._running.items()):
            if process.poll() is not None:
                del self._running[name]


@asynccontextmanager
async def open_runner(
    settings: Settings, data_dir: Path, environment: Mapping[str, str]
) -> AsyncIterator[SubprocessRunner]:
    """A runner that counts its jobs. Leaving stops none of them."""
    runner = SubprocessRunner(settings, data_dir, environment)
    async with beside(runner.watch()):
        yield runner


def _pid_of(ref: str) -> int | None:
    """The job's process, when it still runs; another one may have got its number since."""
    pid, _, rest = ref.partition(":")
    ticks = rest.partition(":")[0]
    if not pid.isdecimal() or not ticks.isdecimal():
        return None
    return int(pid) if _ticks(int(pid)) == int(ticks) else None


def _ticks(pid: int) -> int:
    """When a process started, in the system's ticks; 0 when it ended or nobody can tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    parts = text.rpartition(")")[2].split()
    return 0 if parts[0] in {"Z", "X"} else int(parts[19])
