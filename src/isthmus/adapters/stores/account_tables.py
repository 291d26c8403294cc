"""The tables of accounts: users, places and who belongs to them, tokens, flags."""

from typing import Final

from sqlalchemy import Boolean, Column, Index, LargeBinary, Table, Text

from isthmus.adapters.stores.columns import KEY, NUMBER, metadata

users: Final = Table(
    "users",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("username", Text, nullable=False),
    Column("username_key", KEY, nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("global_id", KEY, nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("subject", KEY, nullable=True),
    Column("password", Text, nullable=False),
    Column("created_at_us", NUMBER, nullable=False),
    Index(None, "username_key", unique=True),
    Index(None, "global_id", unique=True),
    Index(None, "subject", unique=True),
    sqlite_autoincrement=True,
)

# Users' own namespaces, groups and projects in one table: a path names one of them, and so does an
# id, so that an id of the wrong kind finds nothing.
places: Final = Table(
    "places",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("kind", KEY, nullable=False),
    Column("path", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("full_path", Text, nullable=False),
    Column("path_key", KEY, nullable=False),
    Column("parent_id", NUMBER, nullable=True),
    Column("root_id", NUMBER, nullable=False),
    Column("owner_id", NUMBER, nullable=True),
    Column("description", Text, nullable=False),
    Column("default_branch", Text, nullable=False),
    Index(None, "path_key", unique=True),
    Index(None, "owner_id", unique=True),
    sqlite_autoincrement=True,
)

members: Final = Table(
    "members",
    metadata,
    Column("user_id", NUMBER, primary_key=True, autoincrement=False),
    Column("place_id", NUMBER, primary_key=True, autoincrement=False),
)

tokens: Final = Table(
    "tokens",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("kind", KEY, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("user_id", NUMBER, nullable=True),
    Column("scopes", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("user_code", KEY, nullable=True),
    Column("created_at_us", NUMBER, nullable=False),
    Column("expires_at_us", NUMBER, nullable=True),
    Column("revoked_at_us", NUMBER, nullable=True),
    Index(None, "digest", unique=True),
    Index(None, "user_id", "kind", "id"),
    Index(None, "user_code"),
    Index(None, "expires_at_us"),
    sqlite_autoincrement=True,
)

flags: Final = Table(
    "flags",
    metadata,
    Column("name", KEY, primary_key=True),
    Column("by_default", Boolean, nullable=False),
    Column("namespaces", Text, nullable=False),
    Column("users", Text, nullable=False),
)
