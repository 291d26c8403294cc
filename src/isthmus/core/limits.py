"""What a limit counts and against which key, and what a quota is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LimitKey:
    """One counter: `rule` names the rule, `subject` whom it counts; `amount` units a `window_s`."""

    rule: str
    subject: str
    amount: int
    window_s: float


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a feature that costs credits. `feature` is its qualified name.

    Source: HTTP gateway contract, section 2.9.
    """

    event_type: str
    feature: str
    model_id: str = ""
