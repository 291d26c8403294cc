"""What a session has used of models, and whether it may use more.

The sums are kept in the session's state, so that they are the same on every server and after every
crash; here is what was used since they were stored last.
"""

from collections.abc import Mapping
from typing import Final

from isthmus.core.errors import LimitExceeded
from isthmus.core.events import Noted
from isthmus.core.messages import Usage
from isthmus.core.ports import Telemetry
from isthmus.settings import BudgetSettings

MICRO: Final = 1_000_000
MAX_TOLD: Final = 1_000
CHARS_A_TOKEN: Final = 4
NO_PRICE: Final = "a model has no price, or tells no tokens: a session's budget has no cost of it"


class Budgets:
    """What a session may use; `telemetry` hears once of each model without a price."""

    def __init__(self, limits: BudgetSettings, telemetry: Telemetry) -> None:
        self.tokens, self.cost = limits.tokens, round(limits.cost * MICRO)
        self._telemetry = telemetry
        self._told: set[str] = set()

    @property
    def counted(self) -> bool:
        """Whether there is any limit."""
        return bool(self.tokens or self.cost)

    def unpriced(self, model: str) -> None:
        """A model was asked whose price nobody knows."""
        if not self.cost or model in self._told or len(self._told) >= MAX_TOLD:
            return
        self._told.add(model)
        self._telemetry.emit(Noted("warning", NO_PRICE, (("model", model),)))


class Purse:
    """One turn's. `carried` was used in this session and is not in the sums of its state."""

    def __init__(self, budgets: Budgets, carried: Mapping[str, int]) -> None:
        self._budgets = budgets
        self._tokens, self._cost = carried.get("tokens", 0), carried.get("cost", 0)

    @property
    def counts(self) -> bool:
        """Whether it has to be told what is used."""
        return self._budgets.counted

    def spend(self, model: str, usage: Usage, cost: int | None) -> None:
        """A try used this; `cost` is in millionths of a US dollar, None where there is no price."""
        self._tokens += usage.input_tokens + usage.output_tokens
        self._cost += cost or 0
        if cost is None:
            self._budgets.unpriced(model)

    def estimate(self, model: str, asked_chars: int, said_chars: int) -> None:
        """A model answered, and its vendor told no tokens."""
        self.spend(model, Usage(asked_chars // CHARS_A_TOKEN, said_chars // CHARS_A_TOKEN), None)

    def take(self) -> dict[str, int]:
        """What was used since the last time, to be added to the state's sums; as a rule nothing."""
        used = {"tokens": self._tokens, "cost": self._cost} if self._tokens or self._cost else {}
        self._tokens = self._cost = 0
        return used

    def check(self, stored: Mapping[str, int]) -> None:
        """Before a model is asked. Raises LimitExceeded when a budget is used up."""
        limits = self._budgets
        tokens, cost = stored.get("tokens", 0) + self._tokens, stored.get("cost", 0) + self._cost
        if limits.tokens and tokens >= limits.tokens:
            budget, used = f"{limits.tokens:,} tokens", f"{tokens:,}"
            raise _used_up(budget, used, "platform.budgets.tokens")
        if limits.cost and cost >= limits.cost:
            budget, used = f"{_dollars(limits.cost)} US dollars", _dollars(cost)
            raise _used_up(budget, used, "platform.budgets.cost")


def beyond(newest: Mapping[str, int], stored: Mapping[str, int]) -> dict[str, int]:
    """What sums have that were stored last, and those of the step that is gone back to have not."""
    return {name: max(0, amount - stored.get(name, 0)) for name, amount in newest.items()}


def _dollars(millionths: int) -> str:
    return f"{millionths // MICRO:,}.{millionths % MICRO:06}".rstrip("0").rstrip(".")


def _used_up(budget: str, used: str, setting: str) -> LimitExceeded:
    return LimitExceeded(
        f"The session has used up its budget of {budget} (`{setting}`): {used} so far. It can go on"
        " once the budget is raised.",
        0.0,
    )
