"""Deployments and how they do: breakers, health, queues; what one call leaves for the next."""

from collections.abc import Collection, Iterator
from typing import Literal, TypeAlias

from isthmus.core.errors import Forbidden, Rejected
from isthmus.core.messages import ModelChoice, Target
from isthmus.core.ports import Clock
from isthmus.routing.breaker import Breaker
from isthmus.routing.catalogue import Catalogue
from isthmus.routing.deployment import FLOOR, Deployment, deployments
from isthmus.routing.health import Health
from isthmus.routing.lanes import Gate
from isthmus.routing.plan import choice_of, others
from isthmus.settings import RoutingSettings


class Seat:
    """A deployment of one model, and what is known of it. `gate` is None without a limit.

    `name` and `choice` are the deployment's: every call asks for them several times.
    """

    __slots__ = ("breaker", "choice", "deployment", "gate", "health", "name")

    def __init__(
        self, deployment: Deployment, breaker: Breaker, health: Health, gate: Gate | None
    ) -> None:
        self.deployment = deployment
        self.name = deployment.name
        self.choice = deployment.choice
        self.breaker = breaker
        self.health = health
        self.gate = gate


Reach: TypeAlias = Literal["model", "floor", "any"]
"""Who else may answer: nobody, the local completer, or any model of the feature."""
Tiers: TypeAlias = tuple[tuple[Seat, ...], ...]
"""Those that may serve a call: the places of its model, then of the next one, and so on."""


class Seats:
    """Every seat of a catalogue, made when first asked for; no more than the catalogue has."""

    def __init__(
        self,
        catalogue: Catalogue,
        configured: Collection[str],
        settings: RoutingSettings,
        clock: Clock,
        before: "Seats | None" = None,
        beside: "Seats | None" = None,
    ) -> None:
        """`before` are those of the configuration before; those `beside` are the same seats."""
        self._catalogue = catalogue
        self._configured = configured
        self._settings = settings
        self._clock = clock
        self._before = {} if before is None else before._known
        self._same_queue = before is not None and before._settings.queue == settings.queue
        self._known: dict[str, Seat] = {} if beside is None else beside._known
        self._tiers: dict[tuple[str, str, Reach], Tiers] = {}
        self._proxied: dict[tuple[str, str], Tiers] = {}

    def tiers(self, feature: str, choice: ModelChoice, reach: Reach) -> Tiers:
        """The seats of a choice, and behind them those of the feature's other models.

        Raises Forbidden for a model that the instance may not use.
        """
        if choice.brought:
            self._catalogue.admit(choice)
            # Servers of callers are without number, so nothing is remembered of them.
            alone = self._fresh(deployments(self._catalogue, choice, self._configured)[0])
            return ((alone,), *self._others(feature, choice, reach))
        key = (feature, choice.id, reach)
        found = self._tiers.get(key)
        if found is None:
            self._catalogue.admit(choice)
            own = self._placed(choice)
            found = (own, *self._others(feature, choice, reach))
            self._tiers[key] = found
        return found

    def proxied(self, provider: str, upstream: str) -> Tiers:
        """Places that speak a provider's own wire and have the model that a body names.

        Raises Rejected("Unsupported model"), or Forbidden as `tiers` does.
        """
        key = (provider, upstream)
        found = self._proxied.get(key)
        if found is None:
            if key in self._catalogue.closed:
                raise Forbidden(self._catalogue.closed[key])
            if upstream not in self._catalogue.proxied(provider):
                raise Rejected("Unsupported model")
            found = self._proxied[key] = (self._speaking(provider, upstream),)
        return found

    def _speaking(self, provider: str, upstream: str) -> tuple[Seat, ...]:
        models = [m for m in self._catalogue.models.values() if m.proxy_provider == provider]
        listed = [
            seat
            for model in models
            if model.deployments
            for seat in self._placed(choice_of(self._catalogue, model, "chat"))
            if seat.choice.provider == provider and seat.choice.upstream == upstream
        ]
        if listed:
            return tuple(listed)
        model = next((each for each in models if each.upstream == upstream), None)
        key = "" if model is None else model.params.api_key
        target = Target(api_key=key) if key else None
        name = upstream if model is None else model.id
        return self._placed(ModelChoice(name, provider, provider, upstream, target=target))

    def sharing(self, seat: Seat) -> list[Seat]:
        """The others that have been used with the same credential."""
        account = seat.deployment.account
        return [
            other
            for other in self._known.values()
            if other.deployment.account == account and other.name != seat.name
        ]

    def _others(self, feature: str, first: ModelChoice, reach: Reach) -> Iterator[tuple[Seat, ...]]:
        if reach == "model":
            return
        # The same model may be listed under several names: it is asked once.
        known = {(first.provider, first.upstream)}
        for choice in others(self._catalogue, feature, self._configured):
            floor = choice.provider == FLOOR
            place = (choice.provider, choice.upstream)
            if place in known or (reach == "floor" and not floor):
                continue
            if not floor or self._settings.floor:
                known.add(place)
                yield self._placed(choice)

    def _placed(self, choice: ModelChoice) -> tuple[Seat, ...]:
        found = deployments(self._catalogue, choice, self._configured)
        return tuple(self._kept(each) for each in found)

    def _kept(self, deployment: Deployment) -> Seat:
        seat = self._known.get(deployment.name)
        if seat is None:
            seat = self._known[deployment.name] = self._resumed(deployment)
        if seat.deployment == deployment:
            return seat
        # Another use of the same place: it fails, and is slow, together with the first.
        return Seat(deployment, seat.breaker, seat.health, seat.gate)

    def _resumed(self, deployment: Deployment) -> Seat:
        """What was known of it under the configuration before, if nothing of it has changed."""
        seat = self._before.pop(deployment.name, None)
        fresh = self._fresh(deployment)
        if seat is None or seat.deployment != deployment:
            return fresh
        seat.breaker.revived()
        # Who is inside counts on: else there were twice as many for a while.
        gate = seat.gate if self._same_queue else fresh.gate
        return Seat(deployment, seat.breaker, seat.health, gate)

    def _fresh(self, deployment: Deployment) -> Seat:
        limit, queue = deployment.concurrency, self._settings.queue
        gate = (
            None
            if limit is None
            else Gate(
                deployment.name,
                limit,
                self._clock,
                queue_limit=queue.most,
                max_wait_s=queue.wait_s,
            )
        )
        return Seat(deployment, Breaker(), Health(), gate)
