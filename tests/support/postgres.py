"""A PostgreSQL for tests, and a schema of its own for each of them."""

import asyncio
import getpass
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol, cast

import asyncpg
from blockbuster import BlockBuster

from tests.support.ports import answers, free_port
from tests.support.servers import Missing, Server, running, scratch

PORT = 5432
DATABASE = "test"


class _Connection(Protocol):
    async def execute(self, query: str) -> str: ...
    async def close(self) -> None: ...


@contextmanager
def postgres_server() -> Iterator[Server | Missing]:
    """The server at 127.0.0.1:5432 (trust, database `test`), else ours, else why there is none."""
    for user in ("postgres", getpass.getuser()):
        url = f"postgresql://{user}@127.0.0.1:{PORT}/{DATABASE}"
        if answers(PORT) and asyncio.run(_accepts(url)):
            yield Server(url)
            return
    binaries = _binaries()
    if binaries is None:
        yield Missing(
            "no PostgreSQL at 127.0.0.1:5432 (trust, database test), and no initdb is installed"
        )
        return
    prefix = _as_somebody()
    if prefix is None:
        yield Missing("PostgreSQL refuses to run as root, and neither setpriv nor runuser is here")
        return
    with scratch("is-pg-") as directory, _private(binaries, prefix, directory) as server:
        yield server


@asynccontextmanager
async def fresh_schema(server: Server) -> AsyncIterator[str]:
    """A URL whose connections see an empty schema, dropped at the end."""
    name = f"t_{uuid.uuid4().hex}"
    await execute(server.url, f'CREATE SCHEMA "{name}"')
    try:
        yield f"{server.url}?search_path={name}"
    finally:
        await execute(server.url, f'DROP SCHEMA "{name}" CASCADE')


def let_asyncpg_read_its_files(blocker: BlockBuster) -> None:
    """asyncpg looks for ~/.pgpass and certificates on the loop, whenever it opens a connection."""
    for function in blocker.functions.values():
        function.can_block_in("asyncpg/connect_utils.py", "_parse_connect_dsn_and_args")


async def execute(url: str, statement: str) -> None:
    """Run statements, of which several may stand in one text."""
    connection = cast(_Connection, await asyncpg.connect(url, timeout=5))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _accepts(url: str) -> bool:
    try:
        await execute(url, "SELECT 1")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return False
    return True


def _binaries() -> Path | None:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if installed:
        return installed[-1].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _version(path: Path) -> float:
    try:
        return float(path.parent.parent.name)
    except ValueError:
        return 0.0


def _as_somebody() -> Sequence[str] | None:
    """What to put before a command so that it does not run as root; None when nothing can."""
    if os.geteuid() != 0:
        return ()
    user = _somebody()
    if shutil.which("setpriv"):
        return ("setpriv", f"--reuid={user}", "--clear-groups")
    return ("runuser", "-u", user, "--") if shutil.which("runuser") else None


def _somebody() -> str:
    known = Path("/etc/passwd").read_text(encoding="utf-8")
    return "postgres" if "\npostgres:" in known else "nobody"


@contextmanager
def _private(binaries: Path, prefix: Sequence[str], directory: Path) -> Iterator[Server | Missing]:
    data = directory / "data"
    data.mkdir()
    if prefix:
        for path in (directory, data):
            shutil.chown(path, user=_somebody())
    made = subprocess.run(
        [*prefix, str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-N"],
        capture_output=True,
        check=False,
        cwd=directory,
    )
    if made.returncode != 0:
        yield Missing("initdb failed: " + made.stderr.decode(errors="replace")[-300:])
        return
    port = free_port()
    settings = {"listen_addresses": "127.0.0.1", "fsync": "off", "unix_socket_directories": ""}
    command = [*prefix, str(binaries / "postgres"), "-D", str(data), "-p", str(port)]
    command += [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    with running(command, port, directory) as up:
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        if up and _accepts_soon(url):
            yield Server(url)
        else:
            yield Missing("PostgreSQL did not start")


def _accepts_soon(url: str) -> bool:
    async def attempt() -> bool:
        for _ in range(100):
            if await _accepts(url):
                return True
            await asyncio.sleep(0.1)
        return False

    return asyncio.run(attempt())
