"""The branch of the settings tree for limits: where they are counted, and the rules."""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, cast

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator

from isthmus.settings_group import NONE, Group

Dimension = Literal["instance", "namespace", "user", "token", "feature", "model", "provider"]

WINDOWS: Final[Mapping[str, float]] = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3_600.0,
    "day": 86_400.0,
    "week": 604_800.0,
    "month": 2_592_000.0,
}
"""Names of windows -> seconds; a month has 30 days."""
DOLLAR: Final = 1_000_000
"""Cost is counted in millionths of a dollar."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class LimitRule(Group):
    """One limit on calls to models."""

    name: str
    counts: Literal["requests", "tokens", "concurrency", "cost"] = "requests"
    amount: Annotated[float, Field(gt=0, le=1e12)]
    window: str | float | None = None
    by: tuple[Dimension, ...] = ()
    where: dict[Dimension, tuple[str, ...]] = Field(default={})
    mode: Literal["enforce", "shadow"] = "enforce"

    @field_validator("by", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("where", mode="before")
    @classmethod
    def _one_value_or_many(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        given = cast("Mapping[str, object]", value)
        return {name: _many(one) for name, one in given.items()}

    @model_validator(mode="after")
    def _makes_sense(self) -> "LimitRule":
        if not _NAME.fullmatch(self.name):
            raise ValueError("`name` must be 1 to 64 letters, digits, `_`, `.` or `-`")
        if self.counts == "concurrency":
            if self.window is not None:
                raise ValueError("`window` makes no sense for `counts: concurrency`")
        elif self.window is None:
            raise ValueError("`window` is required")
        elif not 1 <= self.window_s <= WINDOWS["month"]:
            raise ValueError(f"`window` must be {', '.join(WINDOWS)}, or 1 to 2592000 seconds")
        if self.counts != "cost" and not self.amount.is_integer():
            raise ValueError("`amount` must be a whole number")
        return self

    @property
    def window_s(self) -> float:
        """The window in seconds; 0 when it is none that there is."""
        if isinstance(self.window, str):
            return WINDOWS.get(self.window, 0.0)
        return self.window or WINDOWS["minute"]

    @property
    def units(self) -> int:
        """The amount in what is counted."""
        return round(self.amount * DOLLAR) if self.counts == "cost" else int(self.amount)


class LimitsSettings(Group):
    """Limits of ours."""

    url: SecretStr = Field(
        default=NONE,
        description="Valkey or Redis shared by all processes; empty: each counts for itself.",
    )
    rules: tuple[LimitRule, ...] = Field(
        default=(), description="Limits on calls to models, as `docs/guide/limits.md` tells."
    )
    match: Literal["first", "all"] = Field(
        default="all",
        description="The rules that a call must keep: all that fit, or the first of each `counts`.",
    )
    local_share: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Share of every amount that a process may use while the store is away.",
    )
    timeout_s: float = Field(default=0.5, gt=0, description="Limit of one call to the store.")
    retry_s: float = Field(
        default=1.0, gt=0, description="Pause before a store that is away is tried again."
    )
    lease_s: float = Field(
        default=15.0, ge=1, description="After which silence a process's slots are given to others."
    )

    @field_validator("rules", mode="before")
    @classmethod
    def _rules_tell_their_faults(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        rules: list[LimitRule] = []
        for number, one in enumerate(cast("list[object]", value), 1):
            try:
                rules.append(LimitRule.model_validate(one))
            except ValidationError as error:
                raise ValueError(_fault(number, one, error)) from None
        return tuple(rules)

    @model_validator(mode="after")
    def _names_differ(self) -> "LimitsSettings":
        names = [rule.name for rule in self.rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"`rules` has two that are named {name!r}")
        return self


def _many(value: object) -> object:
    return cast("object", value) if isinstance(value, list | tuple) else (str(value),)


def _fault(number: int, rule: object, error: ValidationError) -> str:
    """The first fault of a rule: which one it is, and which of its keys."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    key = ".".join(str(part) for part in found["loc"])
    name = cast("Mapping[str, object]", rule).get("name") if isinstance(rule, Mapping) else None
    told = f" ({name})" if isinstance(name, str) else ""
    return f"rule {number}{told}: {key + ': ' if key else ''}{found['msg']}"
