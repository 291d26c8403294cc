"""Where commands about accounts do their work: on the configured database, server or no server."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from isthmus.app.foundation import SystemClock
from isthmus.app.stores import Stores, open_stores
from isthmus.core.accounts import User
from isthmus.core.errors import Failure, Invalid, NotFound, Rejected
from isthmus.instance.accounts import Accounts
from isthmus.instance.flags import Flags
from isthmus.settings import Settings

LOCAL_USER = "local"


@dataclass(frozen=True, slots=True)
class Desk:
    """The stores, and the use cases of a command."""

    settings: Settings
    stores: Stores
    accounts: Accounts
    flags: Flags

    async def user(self, name: str) -> User:
        """The account of this name. Raises Rejected."""
        try:
            return await self.stores.users.find(username=name)
        except NotFound:
            raise Rejected(f"there is no user {name[:100]!r}") from None


Row: TypeAlias = Sequence[object]
Deed: TypeAlias = Callable[[argparse.Namespace, Desk], Awaitable[Sequence[Row]]]
"""What an action does; the rows that it tells, with headings first where there are several."""
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # pyright: ignore[reportPrivateUsage] - argparse has no public name for it


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what the chosen action does, and print what it tells. Returns 0, or 2 with the reason."""
    try:
        rows = asyncio.run(_done(args, settings))
    except Invalid as error:
        return _refused(args, *(f"{each.field} {each.reason}" for each in error.fields))
    except Failure as error:
        return _refused(args, error.detail)
    sys.stdout.write(told(rows))
    return 0


def told(rows: Sequence[Row]) -> str:
    """The rows as lines, in columns."""
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        cells = [str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines)


async def _done(args: argparse.Namespace, settings: Settings) -> Sequence[Row]:
    deed, clock = cast("Deed", args.deed), SystemClock()
    async with open_stores(settings, clock) as stores:
        accounts = Accounts(stores.users, stores.tokens, clock)
        return await deed(args, Desk(settings, stores, accounts, Flags(stores.flags)))


def _refused(args: argparse.Namespace, *reasons: str) -> int:
    for reason in reasons:
        sys.stderr.write(f"isthmus {args.command}: {reason}\n")
    return 2


def actions(
    subparsers: Subparsers, name: str, text: str, told: dict[str, tuple[str, Deed]]
) -> dict[str, argparse.ArgumentParser]:
    """Declare a command and its actions; their arguments are the caller's to add."""
    parser = subparsers.add_parser(name, help=text)
    group = parser.add_subparsers(metavar="|".join(told), required=True)
    made: dict[str, argparse.ArgumentParser] = {}
    for action, (help_text, deed) in told.items():
        made[action] = group.add_parser(action, help=help_text)
        made[action].set_defaults(run=run, deed=deed, command=f"{name} {action}")
    return made
