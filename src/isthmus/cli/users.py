"""`isthmus users`: who has an account here."""

import argparse
import getpass
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from isthmus.auth.password import LEAST_CHARS, MOST_CHARS, SALT_BYTES, hashed
from isthmus.cli._desk import Desk, Row, Subparsers, actions
from isthmus.core.accounts import NewUser, User
from isthmus.core.errors import Conflict, Rejected


def add(subparsers: Subparsers) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    made = actions(
        subparsers,
        "users",
        "list and change accounts",
        {
            "add": ("make an account, with a namespace of its own", _add),
            "list": ("print a table of the accounts", _list),
            "password": ("set a password, which is read from standard input", _password),
            "disable": ("let nobody in by this account any more", _disable),
            "enable": ("let people in by it again", _enable),
        },
    )
    for action in ("add", "password", "disable", "enable"):
        made[action].add_argument("username", metavar="USERNAME")
    made["add"].add_argument("--name", default="", metavar="TEXT", help="name for people to read")
    made["add"].add_argument("--email", default="", metavar="ADDRESS")
    made["add"].add_argument("--admin", action="store_true", help="may administer the instance")


async def _add(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    new = NewUser(args.username, args.name or args.username, args.email, admin=args.admin)
    try:
        user = await desk.stores.users.create(new)
    except Conflict as error:
        raise Conflict(f"{args.username!r}: {error.detail}") from error
    return [(f"User {user.username} has id {user.id}.",)]


async def _list(_: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    users = await desk.stores.users.all()
    rows = [
        (user.id, user.username, user.name, _state(user), "yes" if user.password else "no")
        for user in users
    ]
    return [("ID", "USERNAME", "NAME", "STATE", "PASSWORD"), *rows]


async def _password(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    user = await desk.user(args.username)
    words = _typed()
    if not LEAST_CHARS <= len(words) <= MOST_CHARS:
        raise Rejected(f"a password has {LEAST_CHARS} to {MOST_CHARS} characters")
    kept = hashed(words, secrets.token_bytes(SALT_BYTES))
    await desk.stores.users.change(user.id, lambda found: replace(found, password=kept))
    return []


async def _disable(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    return await _change(args, desk, lambda user: replace(user, active=False))


async def _enable(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    return await _change(args, desk, lambda user: replace(user, active=True))


async def _change(
    args: argparse.Namespace, desk: Desk, apply: Callable[[User], User]
) -> Sequence[Row]:
    user = await desk.stores.users.change((await desk.user(args.username)).id, apply)
    return [(f"User {user.username} is {_state(user)}.",)]


def _state(user: User) -> str:
    return "active" if user.active else "disabled"


def _typed() -> str:
    """One line of standard input; on a terminal it is not shown."""
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline(MOST_CHARS + 2).rstrip("\r\n")
