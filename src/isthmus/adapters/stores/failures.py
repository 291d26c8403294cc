"""Turns what database drivers raise into our failures. A driver's own words go no further.

Source of the SQLSTATE classes: PostgreSQL documentation, appendix A.
"""

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from isthmus.core.errors import Conflict, Failure, StoreDown

DRIVER_ERRORS: Final = (SQLAlchemyError, sqlite3.Error, OSError)
"""What a driver may raise; TimeoutError is an OSError."""

_DISK_FULL: Final = "53100"
_LOCKED: Final = "55P03"
_RACES: Final = frozenset({"40001", "40P01"})
_OUTAGES: Final = ("08", "25006", "53", "55P03", "57", "58", "28", "3D")
# SQLite reports a wrong statement, which is a bug of ours, with the plain code 1.
_SQLITE_BUGS: Final = frozenset({1, 20, 21, 25})


class CommitUnsure(SQLAlchemyError):
    """The commit itself failed: what the transaction wrote may or may not be there."""


def translate(error: BaseException) -> Failure | None:
    """Our failure for a driver's error; None when it is a bug of ours rather than an outage."""
    if isinstance(error, IntegrityError | sqlite3.IntegrityError):
        return Conflict("The database already holds another record like this one.")
    if _state(error) in _RACES:
        return Conflict("Another change to the same record came first.")
    if _is_full(error):
        return StoreDown("The disk of the database is full.")
    if isinstance(error, OSError | PoolTimeoutError | CommitUnsure) or _is_outage(error):
        return StoreDown("The database is not available.")
    return None


def may_retry(error: BaseException) -> bool:
    """Whether the same transaction may work if run again, and surely wrote nothing."""
    if isinstance(error, CommitUnsure):
        return False
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, ConnectionError) or _state(error) in _RACES


def is_locked(error: BaseException | None) -> bool:
    """Whether a transaction gave up waiting for somebody else's lock."""
    return error is not None and _state(error) == _LOCKED


def _is_full(error: BaseException | None) -> bool:
    if isinstance(error, CommitUnsure):
        return _is_full(error.__cause__)
    driver = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(driver, "sqlite_errorcode", 0) & 0xFF
    return code == sqlite3.SQLITE_FULL or (error is not None and _state(error) == _DISK_FULL)


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    driver = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(driver, sqlite3.Error):
        return getattr(driver, "sqlite_errorcode", 1) & 0xFF not in _SQLITE_BUGS
    return _state(error).startswith(_OUTAGES)


def _state(error: BaseException) -> str:
    driver = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(driver, "sqlstate", "") or "")
