"""`isthmus db`: the schema of the database, and copies of what it holds."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Final, TypeAlias, cast

from isthmus.adapters.keysets.keyfile import FILE_NAME
from isthmus.adapters.stores.database import migrate_database
from isthmus.adapters.stores.schema import Fit
from isthmus.app.database import database_url
from isthmus.app.foundation import SystemClock
from isthmus.app.upkeep import Health, back_up, examine, restore
from isthmus.cli._desk import Subparsers, told
from isthmus.core.errors import Failure, Invalid, Rejected
from isthmus.running import snapshots
from isthmus.settings import Settings

Deed: TypeAlias = Callable[[argparse.Namespace, Settings], Coroutine[None, None, int]]

EXITS: Final = {
    Fit.CURRENT: 0,
    Fit.BEHIND: 1,
    Fit.UNFINISHED: 1,
    Fit.AHEAD: 3,
    Fit.TOO_NEW: 3,
}
"""Exit codes of `check`."""
_NO_KEYS: Final = (
    f"Signing keys are not in it: keep `auth.signing_key`, or {FILE_NAME} in `data_dir`, elsewhere."
)
_MENDS: Final = {
    Fit.BEHIND: "isthmus db migrate --phase pre",
    Fit.UNFINISHED: "isthmus db migrate --phase post",
    Fit.TOO_NEW: "isthmus db restore FILE --force",
}


def add(subparsers: Subparsers) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser("db", help="migrate, check, back up or restore the database")
    group = parser.add_subparsers(metavar="migrate|check|backup|restore", required=True)
    migrate = _action(group, "migrate", "bring the schema up to date", _migrate)
    migrate.add_argument(
        "--phase",
        choices=("pre", "post", "all"),
        default="all",
        help="pre: before the new servers; post: when no old one runs any more; all is the default",
    )
    check = _action(group, "check", "tell the schema's version; 0: up to date, 1: behind", _check)
    check.add_argument("--json", action="store_true", help="for programs")
    backup = _action(group, "backup", "copy everything into a new file, beside servers", _backup)
    backup.add_argument("file", type=Path, metavar="FILE")
    restore_ = _action(group, "restore", "fill the database from such a file", _restore)
    restore_.add_argument("file", type=Path, metavar="FILE")
    restore_.add_argument("--force", action="store_true", help="replace what the database holds")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what was asked for. Returns 2, with the reason, when that cannot be."""
    try:
        return asyncio.run(cast("Deed", args.deed)(args, settings))
    except Invalid as error:
        reasons = [f"{each.field} {each.reason}" for each in error.fields] or [error.detail]
    except Failure as error:
        reasons = [error.detail]
    sys.stderr.write("".join(f"isthmus {args.command}: {reason}\n" for reason in reasons))
    return 2


def _action(group: Subparsers, name: str, text: str, deed: Deed) -> argparse.ArgumentParser:
    parser = group.add_parser(name, help=text)
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.set_defaults(run=run, deed=deed, command=f"db {name}")
    return parser


async def _migrate(args: argparse.Namespace, settings: Settings) -> int:
    done = await migrate_database(database_url(settings), args.phase)
    sys.stdout.write(f"Done: {', '.join(done)}.\n" if done else "There was nothing to do.\n")
    return 0


async def _backup(args: argparse.Namespace, settings: Settings) -> int:
    file = cast("Path", args.file)
    rows = await back_up(settings, file, SystemClock())
    size_bytes = file.stat().st_size
    sys.stdout.write(f"{_counted(rows)} to {file} ({size_bytes:,} bytes).\n{_NO_KEYS}\n")
    return 0


async def _restore(args: argparse.Namespace, settings: Settings) -> int:
    if any(snapshots(settings.data_dir)):
        raise Rejected(f"data_dir: a server runs on {settings.data_dir}; stop it first")
    head, rows = await restore(settings, args.file, force=args.force)
    sys.stdout.write(
        f"{_counted(rows)} from {args.file}, made at {head.made_at} by release {head.release} "
        f"with schema {head.schema}.\n"
    )
    return 0


def _counted(rows: Mapping[str, int]) -> str:
    return f"Copied {sum(rows.values()):,} rows of {len(rows)} tables"


async def _check(args: argparse.Namespace, settings: Settings) -> int:
    health = await examine(settings, SystemClock())
    if args.json:
        sys.stdout.write(json.dumps(_told(health)) + "\n")
    else:
        rows = [(name, value) for name, value in _told(health).items() if value != ""]
        sys.stdout.write(told(rows))
    return EXITS[health.fit]


def _told(health: Health) -> dict[str, str | int | float]:
    return {
        "database": health.dialect,
        "state": health.fit.value,
        "schema": str(health.schema),
        "release": str(health.ours),
        "missing_pre": ", ".join(health.pre),
        "missing_post": ", ".join(health.post),
        "tables": health.tables,
        "latency_ms": round(health.latency_ms, 1),
        "mend": _MENDS.get(health.fit, ""),
    }
