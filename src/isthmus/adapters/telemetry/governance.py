"""Series of what governs calls: breakers, limits, guards, and the configuration that was read.

The names are ours: the contracts have none for them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from isthmus.adapters.telemetry.exposition import Show, counter, gauge
from isthmus.adapters.telemetry.family import Count, Family
from isthmus.core.events import (
    BreakerMoved,
    ConfigurationRead,
    Fact,
    LimitMet,
    LimitStoreLost,
    ResultScanned,
    SecretFound,
)

STATES: Final = ("closed", "half open", "open", "dead")
"""Of a breaker, by the number that its gauge shows."""
_NUMBERED: Final = ", ".join(f"{number} {state}" for number, state in enumerate(STATES))


class Governance:
    """Series of decisions, on every page. `readers` count the facts of each kind."""

    def __init__(self) -> None:
        self._breakers = _family("deployment", told=("deployment",))
        self._moves = _family("deployment", "state", told=("deployment",))
        self._limits = _family("rule", "counted", "mode", "feature", told=("rule", "feature"))
        self._lost, self._losses, self._refused = _family(), _family(), _family()
        secret = ("rule", "way", "mode", "model_provider")
        self._secrets = _family(*secret, told=("rule", "model_provider"))
        self._scans = _family("outcome", "rule", told=("rule",))
        self._readings = _family("result")
        for family in (self._lost, self._losses, self._refused):
            family[()].value = 0
        lost, refused = "Whether the shared counters are out of reach.", "Whether it was refused."
        self.shows: tuple[Show, ...] = (
            gauge("model_breaker_state", f"Breakers, by number: {_NUMBERED}.", self._breakers),
            counter("model_breaker_moves", "Moves of breakers.", self._moves),
            counter("limits_met", "Calls that a limit refused, or would have.", self._limits),
            gauge("limits_store_lost", lost, self._lost),
            counter("limits_store_losses", "Times that they were lost.", self._losses),
            counter("secrets_found", "Secrets that a guard found.", self._secrets),
            counter("tool_results_scanned", "Results that were searched for orders.", self._scans),
            counter("configuration_readings", "Configurations that were read.", self._readings),
            gauge("configuration_refused", refused, self._refused),
        )
        self.readers: Mapping[type[Fact], Callable[[Any], None]] = {
            BreakerMoved: self.moved,
            LimitMet: self.met,
            LimitStoreLost: self.lost,
            SecretFound: self.found,
            ResultScanned: self.scanned,
            ConfigurationRead: self.read,
        }

    def moved(self, fact: BreakerMoved) -> None:
        """A breaker."""
        if fact.state in STATES:
            self._breakers[(fact.deployment,)].value = STATES.index(fact.state)
            self._moves[fact.deployment, fact.state].value += 1

    def met(self, fact: LimitMet) -> None:
        """A limit."""
        self._limits[fact.rule, fact.counted, fact.mode, fact.feature or "unknown"].value += 1

    def lost(self, fact: LimitStoreLost) -> None:
        """The shared counters."""
        self._lost[()].value = int(fact.lost)
        self._losses[()].value += int(fact.lost)

    def found(self, fact: SecretFound) -> None:
        """Secrets."""
        self._secrets[fact.rule, fact.way, fact.mode, fact.provider].value += fact.count

    def scanned(self, fact: ResultScanned) -> None:
        """A tool's result."""
        self._scans[fact.outcome, fact.rule].value += 1

    def read(self, fact: ConfigurationRead) -> None:
        """The configuration."""
        self._readings[("taken" if fact.taken else "refused",)].value += 1
        self._refused[()].value = int(not fact.taken)


def _family(*labels: str, told: Sequence[str] = ()) -> Family[Count]:
    return Family(Count, labels, told)
