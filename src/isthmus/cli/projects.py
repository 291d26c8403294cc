"""`isthmus projects`: projects, the groups that they stand in, and who belongs to them."""

import argparse
from collections.abc import Sequence

from isthmus.cli._desk import Desk, Row, Subparsers, actions
from isthmus.core.accounts import Namespace
from isthmus.core.errors import Conflict, NotFound, Rejected


def add(subparsers: Subparsers) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    made = actions(
        subparsers,
        "projects",
        "list projects, and say who belongs to them",
        {
            "add": ("make a project, and the groups above it that are missing", _add),
            "list": ("print a table of the projects", _list),
            "join": ("make a user a member of a group, or of a project's", _join),
        },
    )
    for action in ("add", "join"):
        made[action].add_argument("path", metavar="PATH", help="such as group/project")
    made["add"].add_argument("--description", default="", metavar="TEXT")
    made["add"].add_argument("--user", metavar="NAME", help="make this user a member of its group")
    made["list"].add_argument("--user", metavar="NAME", help="those that this user reaches")
    made["join"].add_argument("--user", required=True, metavar="NAME")
    made["join"].add_argument("--leave", action="store_true", help="be a member no more")


async def _add(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    user = await desk.user(args.user) if args.user else None
    parent, _, _ = args.path.rpartition("/")
    if not parent:
        raise Rejected("a project stands in a group or a user's namespace: GROUP/PROJECT")
    places = desk.stores.places
    try:
        namespace = await places.namespace(parent)
    except NotFound:
        namespace = await places.add_group(parent)
    try:
        project = await places.add_project(args.path, args.description)
    except Conflict as error:
        raise Conflict(f"{args.path!r}: {error.detail}") from error
    if user is not None and namespace.owner_id is None:
        await places.join(user.id, namespace.id)
    return [(f"Project {project.full_path} has id {project.id}.",)]


async def _list(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    user = await desk.user(args.user) if args.user else None
    projects = await desk.stores.places.projects(None if user is None else user.id)
    rows = [(project.id, project.full_path, project.description) for project in projects]
    return [("ID", "PATH", "DESCRIPTION"), *rows]


async def _join(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    user, group = await desk.user(args.user), await _group(args.path, desk)
    if group.owner_id is not None:
        raise Rejected(f"{group.full_path!r} is a user's own: only groups have members")
    await desk.stores.places.join(user.id, group.id, member=not args.leave)
    relation = "is no member" if args.leave else "is a member"
    return [(f"User {user.username} {relation} of {group.full_path}.",)]


async def _group(path: str, desk: Desk) -> Namespace:
    """The group, or the one that the project of this path stands in. Raises Rejected."""
    places = desk.stores.places
    try:
        return await places.namespace(path)
    except NotFound:
        pass
    try:
        return await places.namespace((await places.project(path)).namespace_id)
    except NotFound:
        raise Rejected(f"there is no group or project {path[:100]!r}") from None
