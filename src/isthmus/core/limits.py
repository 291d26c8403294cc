"""What a limit counts and against which key."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LimitKey:
    """One counter: `rule` names the rule, `subject` whom it counts; `amount` units a `window_s`."""

    rule: str
    subject: str
    amount: int
    window_s: float
