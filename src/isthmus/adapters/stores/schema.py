"""The schema's version: what the database has, what this release needs, and whether they fit.

A version is two lines of steps. `pre` steps only add, so that the release before this one works on
with them: they come before the new servers. `post` steps take away what no server needs any more:
they come after the last old one has ended. The id of a pre step is a number of four digits; that of
a post step, `p0001_0007`, also says which schema a release must know to live with it. Both sort.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sqlalchemy import Connection, inspect, text


@dataclass(frozen=True, slots=True)
class Schema:
    """The newest step of each line; empty where there is none."""

    pre: str = ""
    post: str = ""

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.pre or 'none'}, {self.post}" if self.post else self.pre or "none"

    @property
    def least(self) -> str:
        """The oldest schema that a release may be made for and work on this one."""
        return self.post.partition("_")[2]


OURS: Final = Schema(pre="0006", post="")
"""The schema of this release: the one that the tables describe."""
_LINES: Final = text("SELECT version_num FROM alembic_version")


class Fit(Enum):
    """How the schema of a database suits a release."""

    CURRENT = "up to date"
    BEHIND = "behind"
    """A pre step is missing: the release cannot work."""
    UNFINISHED = "lacks post steps"
    """Only post steps are missing: the release works."""
    AHEAD = "ahead"
    """A newer release was here, and left the schema as this one can use it."""
    TOO_NEW = "too new"
    """A newer release took away what this one needs."""

    @property
    def works(self) -> bool:
        """Whether the release may serve."""
        return self in {Fit.CURRENT, Fit.UNFINISHED, Fit.AHEAD}


def fit(found: Schema, ours: Schema = OURS) -> Fit:
    """How `found` suits a release whose own schema is `ours`."""
    if found.least > ours.pre:
        return Fit.TOO_NEW
    if found.pre < ours.pre:
        return Fit.BEHIND
    if found.pre > ours.pre or found.post > ours.post:
        return Fit.AHEAD
    return Fit.CURRENT if found.post == ours.post else Fit.UNFINISHED


def read_schema(connection: Connection) -> Schema:
    """The schema that the database has."""
    if not inspect(connection).has_table("alembic_version"):
        return Schema()
    return schema_of(str(row[0]) for row in connection.execute(_LINES))


def schema_of(ids: Iterable[str]) -> Schema:
    """The schema that has these steps."""
    found = sorted(ids)
    pre = [step for step in found if not is_post(step)]
    post = [step for step in found if is_post(step)]
    return Schema(pre[-1] if pre else "", post[-1] if post else "")


def is_post(step: str) -> bool:
    """Whether this is the id of a post step."""
    return step.startswith("p")
