"""Namespaces and projects in the database, and who belongs to them."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    func,
    literal,
    select,
    union,
    update,
)
from sqlalchemy import exists as sql_exists

from isthmus.adapters.stores.account_tables import members, places, users
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.paths import path_key, split_path
from isthmus.adapters.stores.statements import insert_new
from isthmus.adapters.stores.text import check_text, invalid, stored_id
from isthmus.core.accounts import Namespace, Project
from isthmus.core.errors import Conflict, Invalid, NotFound

PROJECTS_LIMIT: Final = 10_000
_NAME_LIMIT: Final = 255
_DESCRIPTION_LIMIT: Final = 2_000
_DIGITS: Final = 19
_NAMESPACES: Final = ("user", "group")
_PROJECTS: Final = ("project",)

_Row = Row[tuple[object, ...]]


class SqlPlaceStore:
    """The PlaceStore port over SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = insert_new(places, database.dialect).returning(*places.columns)
        self._join = insert_new(members, database.dialect)

    async def namespace(self, key: int | str) -> Namespace:
        """By id or full path, in any case of letters; digits are an id. Raises NotFound."""
        return _namespace(await self._database.read(lambda c: _find(c, key, _NAMESPACES)))

    async def project(self, key: int | str) -> Project:
        """By id or full path, in any case of letters; digits are an id. Raises NotFound."""
        return _project(await self._database.read(lambda c: _find(c, key, _PROJECTS)))

    async def add_group(self, full_path: str, name: str = "") -> Namespace:
        """A group and its missing ancestors; one that is there is returned. Raises Conflict."""
        segments = split_path("full_path", full_path)
        check_text("name", name, limit=_NAME_LIMIT)

        def work(connection: Connection) -> Namespace:
            row: _Row | None = None
            for segment in segments[:-1]:
                row = self._group(connection, row, segment, segment)
            return _namespace(self._group(connection, row, segments[-1], name or segments[-1]))

        return await self._database.write(work)

    async def add_project(self, full_path: str, description: str = "") -> Project:
        """A project below a namespace that exists. Raises NotFound, or Conflict."""
        segments = split_path("full_path", full_path)
        check_text("description", description, limit=_DESCRIPTION_LIMIT)
        if len(segments) == 1:
            raise invalid("full_path", "must name a namespace too")

        def work(connection: Connection) -> Project:
            parent = _find(connection, "/".join(segments[:-1]), _NAMESPACES)
            values = {**_below(parent, segments[-1]), "kind": "project"}
            values |= {"description": description, "default_branch": "main"}
            row = connection.execute(self._insert, values).one_or_none()
            if row is None:
                raise Conflict("The path is taken.")
            return _project(row)

        return await self._database.write(work)

    async def join(self, user_id: int, namespace_id: int, *, member: bool = True) -> None:
        """Make the user a member of the namespace and all below it, or no more one.

        Raises NotFound for a user or namespace that is not there.
        """

        def work(connection: Connection) -> None:
            _find(connection, namespace_id, _NAMESPACES)
            known = select(users.c.id).where(users.c.id == stored_id(user_id))
            if connection.execute(known).one_or_none() is None:
                raise NotFound(f"There is no user {user_id}.")
            if member:
                connection.execute(self._join, {"user_id": user_id, "place_id": namespace_id})
                return
            both = and_(members.c.user_id == user_id, members.c.place_id == namespace_id)
            connection.execute(delete(members).where(both))

        await self._database.write(work)

    async def reaches(self, user_id: int, namespace_id: int) -> bool:
        """Whether it is the user's own, or the user is a member of it or of an ancestor."""
        below = places.alias("below")
        statement = select(below.c.id).where(
            below.c.id == stored_id(namespace_id),
            below.c.kind.in_(_NAMESPACES),
            _reached(stored_id(user_id), below.c.path_key),
        )

        def work(connection: Connection) -> bool:
            return connection.execute(statement).one_or_none() is not None

        return await self._database.read(work)

    async def projects(self, user_id: int | None = None) -> Sequence[Project]:
        """Every project, or those that the user reaches; by id, at most 10,000."""
        below = places.alias("below")
        statement = select(*below.columns).where(below.c.kind == "project")
        if user_id is not None:
            statement = statement.where(_reached(stored_id(user_id), below.c.path_key))
        statement = statement.order_by(below.c.id).limit(PROJECTS_LIMIT)

        def work(connection: Connection) -> Sequence[Project]:
            return [_project(row) for row in connection.execute(statement)]

        return await self._database.read(work)

    def _group(self, connection: Connection, parent: _Row | None, path: str, name: str) -> _Row:
        values = {**_below(parent, path), "kind": "group", "name": name}
        row = connection.execute(self._insert, values).one_or_none()
        if row is None:
            row = _by_path(connection, str(values["full_path"]))
            if row is None or row.kind != "group":
                raise Conflict("The path is a user's or a project's.")
        if row.root_id:
            return row
        root = update(places).where(places.c.id == row.id).values(root_id=row.id)
        return connection.execute(root.returning(*places.columns)).one()


def _below(parent: _Row | None, path: str) -> dict[str, object]:
    full_path = path if parent is None else f"{parent.full_path}/{path}"
    return {
        "path": path,
        "name": path,
        "full_path": full_path,
        "path_key": path_key(full_path),
        "parent_id": None if parent is None else parent.id,
        "root_id": 0 if parent is None else parent.root_id,
        "description": "",
        "default_branch": "",
    }


def _reached(user_id: int, key: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether the place with this key is one that the user owns or joined, or stands below it."""
    above = places.alias("above")
    slash = above.c.path_key + "/"
    own = select(places.c.id).where(places.c.owner_id == user_id)
    joined = select(members.c.place_id).where(members.c.user_id == user_id)
    return sql_exists(
        select(literal(1)).where(
            above.c.id.in_(union(own, joined)),
            # Not LIKE: `_` in a path would match anything.
            func.substr(key + "/", 1, func.length(slash)) == slash,
        )
    )


def _find(connection: Connection, key: int | str, kinds: Sequence[str]) -> _Row:
    if isinstance(key, str) and not (key.isascii() and key.isdigit()):
        row = _by_path(connection, key)
    else:
        number = stored_id(int(key)) if len(str(key)) <= _DIGITS else 0
        row = connection.execute(select(*places.columns).where(places.c.id == number)).one_or_none()
    if row is None or row.kind not in kinds:
        raise NotFound("There is no such project." if kinds is _PROJECTS else "No such namespace.")
    return row


def _by_path(connection: Connection, full_path: str) -> _Row | None:
    try:
        split_path("full_path", full_path)
    except Invalid:
        return None
    key = places.c.path_key == path_key(full_path)
    return connection.execute(select(*places.columns).where(key)).one_or_none()


def _namespace(row: _Row) -> Namespace:
    return Namespace(
        id=row.id,
        path=row.path,
        name=row.name,
        full_path=row.full_path,
        root_id=row.root_id,
        parent_id=row.parent_id,
        owner_id=row.owner_id,
    )


def _project(row: _Row) -> Project:
    return Project(
        id=row.id,
        path=row.path,
        name=row.name,
        full_path=row.full_path,
        namespace_id=row.parent_id,
        root_id=row.root_id,
        description=row.description,
        default_branch=row.default_branch,
    )
