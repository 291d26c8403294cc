"""What a check says: what it looked at, how that is, and how a fault is mended."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from msgspec import Struct

Verdict: TypeAlias = Literal["ok", "skip", "warn", "fail"]
RANK: Final[dict[Verdict, int]] = {"ok": 0, "skip": 0, "warn": 1, "fail": 2}


class Finding(Struct, frozen=True):
    """One line of the report. `cause` says why the verdict is not `ok`, or what was found.

    `setting` is the path of the setting that is at fault, `mend` a command or a step that helps.
    """

    name: str
    verdict: Verdict
    looked_at: str
    cause: str = ""
    setting: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that is looked at; its methods are the verdicts."""

    name: str
    looked_at: str

    def ok(self, cause: str = "") -> Finding:
        """All is well."""
        return Finding(self.name, "ok", self.looked_at, cause)

    def skip(self, cause: str) -> Finding:
        """It cannot be judged now, and `cause` says why."""
        return Finding(self.name, "skip", self.looked_at, cause)

    def warn(self, cause: str, setting: str, mend: str) -> Finding:
        """It works, and will not for ever or not for everybody."""
        return Finding(self.name, "warn", self.looked_at, cause, setting, mend)

    def fail(self, cause: str, setting: str, mend: str) -> Finding:
        """It does not work."""
        return Finding(self.name, "fail", self.looked_at, cause, setting, mend)
