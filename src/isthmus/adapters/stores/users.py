"""Accounts in the database."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, Row, Select, select, update

from isthmus.adapters.stores.account_tables import places, users
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.instants import micros, utc
from isthmus.adapters.stores.paths import path_key, split_path
from isthmus.adapters.stores.statements import insert_new
from isthmus.adapters.stores.text import check_key, check_text, invalid, stored_id
from isthmus.core.accounts import NewUser, User
from isthmus.core.errors import Conflict, NotFound
from isthmus.core.ports import Clock

USERS_LIMIT: Final = 10_000
_NAME_LIMIT: Final = 255
_EMAIL_LIMIT: Final = 320
_KEY_BYTES: Final = 1_024
_PASSWORD_LIMIT: Final = 1_024


class SqlUserStore:
    """The UserStore port over SQLite or PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._user = insert_new(users, database.dialect).returning(users.c.id)
        self._place = insert_new(places, database.dialect).returning(places.c.id)

    async def create(self, new: NewUser) -> User:
        """An account and its own namespace. Raises Conflict when the name or subject is taken."""
        if len(split_path("username", new.username)) > 1:
            raise invalid("username", "must not contain '/'")
        user = User(
            id=0,
            username=new.username,
            name=new.name,
            email=new.email,
            global_id=secrets.token_hex(16),
            namespace_id=0,
            created_at=self._clock.utc(),
            admin=new.admin,
            subject=new.subject,
            password=new.password,
        )
        row = {
            **_changeable(user),
            "username": user.username,
            "username_key": path_key(user.username),
            "global_id": user.global_id,
            "created_at_us": micros(user.created_at),
        }

        def work(connection: Connection) -> User:
            user_id = connection.execute(self._user, row).scalar_one_or_none()
            if user_id is None:
                raise Conflict("The username or subject is taken.")
            return replace(user, id=user_id, namespace_id=self._own(connection, user, user_id))

        return await self._database.write(work)

    async def get(self, user_id: int) -> User:
        """Raises NotFound."""
        return await self._database.read(lambda connection: _find(connection, user_id))

    async def find(self, *, username: str = "", subject: str = "", global_id: str = "") -> User:
        """The account with all that is given; the case of a name is no matter. Raises NotFound."""
        wanted = {
            users.c.username_key: path_key(username),
            users.c.subject: subject,
            users.c.global_id: global_id,
        }
        given = [column == value for column, value in wanted.items() if value]
        if not given or any("\0" in value for value in wanted.values()):
            raise NotFound("There is no such account.")
        statement = _users().where(*given)

        def work(connection: Connection) -> User:
            row = connection.execute(statement).one_or_none()
            if row is None:
                raise NotFound("There is no such account.")
            return _user(row)

        return await self._database.read(work)

    async def change(self, user_id: int, apply: Callable[[User], User]) -> User:
        """Store `apply` of the account (name, email, admin, active, subject, password).

        Raises NotFound, Invalid, or Conflict when the subject is taken. `apply` may run twice, and
        on another thread.
        """

        def work(connection: Connection) -> User:
            values = _changeable(apply(_find(connection, user_id, locked=True)))
            connection.execute(update(users).where(users.c.id == user_id).values(**values))
            return _find(connection, user_id)

        return await self._database.write(work)

    async def all(self) -> Sequence[User]:
        """Every account, by id; at most 10,000."""
        statement = _users().order_by(users.c.id).limit(USERS_LIMIT)
        return await self._database.read(
            lambda connection: [_user(row) for row in connection.execute(statement)]
        )

    def _own(self, connection: Connection, user: User, user_id: int) -> int:
        row = {
            "kind": "user",
            "path": user.username,
            "name": user.name,
            "full_path": user.username,
            "path_key": path_key(user.username),
            "root_id": 0,
            "owner_id": user_id,
            "description": "",
            "default_branch": "",
        }
        number = connection.execute(self._place, row).scalar_one_or_none()
        if number is None:
            raise Conflict("The username is the path of a group.")
        connection.execute(update(places).where(places.c.id == number).values(root_id=number))
        return number


def _users() -> Select[tuple[object, ...]]:
    own = places.c.owner_id == users.c.id
    return select(*users.columns, places.c.id.label("namespace_id")).join(places, own)


def _find(connection: Connection, user_id: int, *, locked: bool = False) -> User:
    statement = _users().where(users.c.id == stored_id(user_id))
    if locked:
        statement = statement.with_for_update(of=users)
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise NotFound(f"There is no user {user_id}.")
    return _user(row)


def _changeable(user: User) -> dict[str, object]:
    check_text("name", user.name, limit=_NAME_LIMIT)
    check_text("email", user.email, limit=_EMAIL_LIMIT)
    check_text("password", user.password, limit=_PASSWORD_LIMIT)
    check_key("subject", user.subject, limit_bytes=_KEY_BYTES)
    return {
        "name": user.name,
        "email": user.email,
        "admin": user.admin,
        "active": user.active,
        "subject": user.subject or None,
        "password": user.password,
    }


def _user(row: Row[tuple[object, ...]]) -> User:
    return User(
        id=row.id,
        username=row.username,
        name=row.name,
        email=row.email,
        global_id=row.global_id,
        namespace_id=row.namespace_id,
        created_at=utc(row.created_at_us),
        admin=row.admin,
        active=row.active,
        subject=row.subject or "",
        password=row.password,
    )
