"""`isthmus flags`: feature flags of the instance; a change counts at once."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from isthmus.cli._desk import Desk, Row, Subparsers, actions
from isthmus.core.errors import NotFound, Rejected
from isthmus.core.flags import KNOWN, Flag


def add(subparsers: Subparsers) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    made = actions(
        subparsers,
        "flags",
        "list and set feature flags",
        {
            "list": ("print a table of the flags", _list),
            "set": ("switch a flag on or off", _set),
        },
    )
    setting = made["set"]
    setting.add_argument("name", metavar="NAME")
    setting.add_argument("state", choices=("on", "off"))
    only = setting.add_mutually_exclusive_group()
    only.add_argument(
        "--namespace", metavar="PATH", help="for this group or user's namespace alone"
    )
    only.add_argument("--user", metavar="NAME", help="for this user alone")


async def _list(_: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    flags = await desk.flags.all()
    names = {user.id: user.username for user in await desk.stores.users.all()}
    rows: list[Row] = []
    for name, flag in sorted(flags.items()):
        places = [await _path(number, desk) for number in sorted(flag.namespaces)]
        users = [names.get(number, str(number)) for number in sorted(flag.users)]
        on = "on" if flag.default else "off"
        rows.append((name, on, ",".join(places), ",".join(users)))
    return [("NAME", "STATE", "ON FOR NAMESPACES", "ON FOR USERS"), *rows]


async def _set(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    on = args.state == "on"
    if args.name not in KNOWN:
        raise Rejected(f"there is no flag {args.name[:100]!r}; `isthmus flags list` tells them")
    alone = bool(args.namespace or args.user)
    if alone and not on and (await desk.flags.all())[args.name].default:
        raise Rejected(f"{args.name!r} is on for everybody; nobody can be left out")
    namespace_id = await _root(args.namespace, desk) if args.namespace else None
    user_id = (await desk.user(args.user)).id if args.user else None

    def apply(flag: Flag) -> Flag:
        if namespace_id is not None:
            return replace(flag, namespaces=_with(flag.namespaces, namespace_id, on=on))
        if user_id is not None:
            return replace(flag, users=_with(flag.users, user_id, on=on))
        return replace(flag, default=on)

    await desk.flags.change(args.name, apply)
    whom = args.namespace or args.user or "everybody"
    return [(f"{args.name} is {args.state} for {whom}.",)]


async def _root(path: str, desk: Desk) -> int:
    """The topmost namespace: flags look at nothing below it. Raises Rejected."""
    try:
        found = await desk.stores.places.namespace(path)
    except NotFound:
        raise Rejected(f"there is no namespace {path[:100]!r}") from None
    if found.id != found.root_id:
        top = path.partition("/")[0]
        raise Rejected(f"flags are set for topmost namespaces; that of {path!r} is {top!r}")
    return found.id


async def _path(namespace_id: int, desk: Desk) -> str:
    try:
        return (await desk.stores.places.namespace(namespace_id)).full_path
    except NotFound:
        return str(namespace_id)


def _with(ids: frozenset[int], number: int, *, on: bool) -> frozenset[int]:
    return ids | {number} if on else ids - {number}
