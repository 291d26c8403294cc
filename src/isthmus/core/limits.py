"""What a limit counts and against which key, and what a quota is asked for."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from msgspec import Struct

Counted: TypeAlias = Literal["requests", "tokens", "concurrency", "cost"]
"""What a limit counts. Cost is in millionths of a US dollar; concurrency knows no window."""


class LimitKey(Struct, frozen=True, cache_hash=True):
    """One counter: `rule` names the rule, `subject` whom it counts; `amount` units a `window_s`."""

    rule: str
    subject: str
    amount: int
    window_s: float
    counted: Counted = "requests"


class Claim(Struct, frozen=True, gc=False):
    """What one call asks of one counter. A `shadow` one is counted and never refused."""

    key: LimitKey
    units: int
    shadow: bool = False


class LimitState(Struct, frozen=True, gc=False):
    """How a counter stands: `remaining` units, whole again after `reset_s` seconds."""

    rule: str
    counted: Counted
    amount: int
    window_s: float
    remaining: int
    reset_s: float


class Standing(Struct, frozen=True, gc=False):
    """What a caller is told of limits: how the `tightest` stands, and all that look at the call."""

    tightest: LimitState
    keys: tuple[LimitKey, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a feature that costs credits. `feature` is its qualified name.

    Source: HTTP gateway contract, section 2.9.
    """

    event_type: str
    feature: str
    model_id: str = ""
