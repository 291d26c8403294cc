"""What an instance keeps: more of a workflow, accounts and places, records and events."""

import secrets
import time
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
DEPLOY = "pre"

_KEY = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BYTES = sa.LargeBinary()


def upgrade() -> None:
    """Widen the workflows and create the tables; an account `local` is there from the start."""
    _workflows()
    _accounts()
    _tokens()
    _records()
    _writes()


def _workflows() -> None:
    for name in ("project_id", "namespace_id"):
        op.add_column("workflows", sa.Column(name, _NUMBER, nullable=True))
    for name, default in (
        ("title", ""),
        ("summary", ""),
        ("flow", ""),
        ("job", ""),
        ("environment", ""),
        ("terms", "{}"),
        ("approvals", "{}"),
    ):
        kind = _KEY if name == "environment" else sa.Text()
        column = sa.Column(name, kind, nullable=False, server_default=default)
        op.add_column("workflows", column)
    _index("workflows", "project_id", "created_at_us", "id")
    _index("workflows", "status", "updated_at_us")


def _accounts() -> None:
    users = op.create_table(
        "users",
        sa.Column("id", _NUMBER, primary_key=True),
        *_columns(
            username=sa.Text(),
            username_key=_KEY,
            name=sa.Text(),
            email=sa.Text(),
            global_id=_KEY,
            admin=sa.Boolean(),
            active=sa.Boolean(),
            password=sa.Text(),
            created_at_us=_NUMBER,
        ),
        sa.Column("subject", _KEY, nullable=True),
        sqlite_autoincrement=True,
    )
    for name in ("username_key", "global_id", "subject"):
        _index("users", name, unique=True)
    places = op.create_table(
        "places",
        sa.Column("id", _NUMBER, primary_key=True),
        *_columns(kind=_KEY, path=sa.Text(), name=sa.Text(), full_path=sa.Text(), path_key=_KEY),
        *_columns(root_id=_NUMBER, description=sa.Text(), default_branch=sa.Text()),
        sa.Column("parent_id", _NUMBER, nullable=True),
        sa.Column("owner_id", _NUMBER, nullable=True),
        sqlite_autoincrement=True,
    )
    for name in ("path_key", "owner_id"):
        _index("places", name, unique=True)
    op.create_table(
        "members",
        sa.Column("user_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("place_id", _NUMBER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "place_id", name="members_pkey"),
    )
    _local_account(users, places)


def _local_account(users: sa.Table, places: sa.Table) -> None:
    # Without ids, so that they are counted: both are the first, and so 1.
    user = {
        "username": "local",
        "username_key": "local",
        "name": "Local user",
        "email": "",
        "global_id": secrets.token_hex(16),
        "admin": False,
        "active": True,
        "password": "",
        "created_at_us": time.time_ns() // 1_000,
    }
    place = {
        "kind": "user",
        "path": "local",
        "name": "Local user",
        "full_path": "local",
        "path_key": "local",
        "root_id": 1,
        "owner_id": 1,
        "description": "",
        "default_branch": "",
    }
    op.bulk_insert(users, [user])
    op.bulk_insert(places, [place])


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", _NUMBER, primary_key=True),
        *_columns(kind=_KEY, digest=_BYTES, scopes=sa.Text(), name=sa.Text(), client_id=sa.Text()),
        *_columns(details=sa.Text(), created_at_us=_NUMBER),
        sa.Column("user_id", _NUMBER, nullable=True),
        sa.Column("user_code", _KEY, nullable=True),
        sa.Column("expires_at_us", _NUMBER, nullable=True),
        sa.Column("revoked_at_us", _NUMBER, nullable=True),
        sqlite_autoincrement=True,
    )
    _index("tokens", "digest", unique=True)
    _index("tokens", "user_id", "kind", "id")
    _index("tokens", "user_code")
    _index("tokens", "expires_at_us")
    op.create_table(
        "flags",
        *_columns(name=_KEY, by_default=sa.Boolean(), namespaces=sa.Text(), users=sa.Text()),
        sa.PrimaryKeyConstraint("name", name="flags_pkey"),
    )


def _records() -> None:
    op.create_table(
        "records",
        sa.Column("id", _NUMBER, primary_key=True),
        *_columns(workflow_id=_NUMBER, thread_ts=_KEY, ns_digest=_BYTES, ns=sa.Text()),
        *_columns(current_thread=_NUMBER, size_bytes=_NUMBER, metadata=_BYTES, checkpoint=_BYTES),
        sa.Column("parent_ts", _KEY, nullable=True),
        sqlite_autoincrement=True,
    )
    _index("records", "workflow_id", "thread_ts", "ns_digest", unique=True)
    op.create_table(
        "record_blobs",
        sa.Column("workflow_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("current_thread", _NUMBER, autoincrement=False, nullable=False),
        *_columns(channel=_KEY, version=_KEY, write_type=sa.Text(), step_action=sa.Text()),
        *_columns(data=_BYTES),
        sa.PrimaryKeyConstraint(
            "workflow_id", "current_thread", "channel", "version", name="record_blobs_pkey"
        ),
    )


def _writes() -> None:
    op.create_table(
        "record_writes",
        sa.Column("id", _NUMBER, primary_key=True),
        *_columns(workflow_id=_NUMBER, thread_ts=_KEY, task=_KEY, idx=_NUMBER),
        *_columns(channel=sa.Text(), write_type=sa.Text(), data=sa.Text()),
        sqlite_autoincrement=True,
    )
    _index("record_writes", "workflow_id", "thread_ts", "task", "idx", unique=True)
    op.create_table(
        "flow_events",
        sa.Column("id", _NUMBER, primary_key=True),
        *_columns(workflow_id=_NUMBER, scope=_KEY, event_type=sa.Text(), status=_KEY),
        *_columns(message=sa.Text()),
        sa.Column("correlation_id", _KEY, nullable=True),
        sqlite_autoincrement=True,
    )
    _index("flow_events", "workflow_id", "status", "id")
    _index("flow_events", "scope", "correlation_id", unique=True)


def _columns(**kinds: sa.types.TypeEngine[Any]) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=False) for name, kind in kinds.items()]


def _index(table: str, *columns: str, unique: bool = False) -> None:
    op.create_index("_".join((table, *columns, "idx")), table, list(columns), unique=unique)
