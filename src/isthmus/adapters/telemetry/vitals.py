"""Series of the process itself: build, lag of the loop, drain, bugs, certificates, key sets.

The names are ours: the contracts have none for them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from isthmus import __version__
from isthmus.adapters.telemetry.exposition import Show, counter, gauge, histogram
from isthmus.adapters.telemetry.family import Count, Family, Timer
from isthmus.core.events import CertificateLoaded, Crashed, Fact, KeysRefreshed, Stopping

LAG_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(frozen=True, slots=True)
class About:
    """What a process is: which listeners it has, and how it is set.

    `repeated`: it has both pages, so that series of the process and of models stand twice.
    `session_limit` and `quiet_limit_s` are of sessions: how many at once, and how long one may go
    without a step.
    """

    transports: tuple[str, ...] = ("http", "grpc")
    repeated: bool = False
    session_limit: int = 0
    quiet_limit_s: float = 600.0


class Vitals:
    """Series of the process, on every page. `readers` count the facts of each kind."""

    def __init__(self, about: About) -> None:
        build = Family(Count, ("version", "transports"))
        build[__version__, ",".join(sorted(about.transports))].value = 1
        self._lag = Family(partial(Timer, LAG_S))
        self._lags = self._lag[()]
        self._draining: Family[Count] = Family(Count)
        self._crashes: Family[Count] = Family(Count)
        for family in (self._draining, self._crashes):
            family[()].value = 0
        self._ends = Family(Count, ("listener",))
        self._failing = Family(Count, ("issuer",), ("issuer",))
        self.shows: tuple[Show, ...] = (
            gauge("isthmus_build_info", "The version that runs, and its listeners.", build),
            histogram(
                "event_loop_lag_seconds",
                "Seconds that the loop was late, at worst, in each 0.1 s.",
                self._lag,
            ),
            gauge("server_draining", "Whether the server is stopping.", self._draining),
            counter("crashes", "Bugs: exceptions that are not ours.", self._crashes),
            gauge(
                "tls_certificate_not_after_seconds",
                "When the certificate of a listener ends, in seconds since the epoch.",
                self._ends,
            ),
            gauge(
                "auth_key_set_failing",
                "Whether the keys of an issuer could not be fetched the last time.",
                self._failing,
            ),
        )
        self.readers: Mapping[type[Fact], Callable[[Any], None]] = {
            Stopping: self.stopping,
            Crashed: self.crashed,
            CertificateLoaded: self.loaded,
            KeysRefreshed: self.refreshed,
        }

    def lagged(self, late_s: float) -> None:
        """The loop was late by so much."""
        self._lags.observe(late_s)

    def stopping(self, fact: Stopping) -> None:  # noqa: ARG002 - its reason has no series
        """The drain began."""
        self._draining[()].value = 1

    def crashed(self, fact: Crashed) -> None:  # noqa: ARG002 - where it was is for the log
        """A bug."""
        self._crashes[()].value += 1

    def loaded(self, fact: CertificateLoaded) -> None:
        """A certificate."""
        self._ends[(fact.listener,)].value = int(fact.ends_at_s)

    def refreshed(self, fact: KeysRefreshed) -> None:
        """An issuer's keys."""
        self._failing[(fact.issuer,)].value = int(bool(fact.error))


def repetition(*, repeated: bool) -> Show:
    """Tells whether the process has another page, by which it is counted."""
    family: Family[Count] = Family(Count)
    family[()].value = int(repeated)
    text = "Whether the process is counted by its other page: it and its model calls stand twice."
    return gauge("isthmus_page_repeated", text, family)
