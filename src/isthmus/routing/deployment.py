"""Where a model is served: a provider, with a region, an address or a key of its own."""

from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from isthmus.core.messages import ModelChoice, Target
from isthmus.routing.catalogue import Catalogue, DeploymentEntry, Model, Prices

REGIONAL = frozenset({"bedrock", "vertex"})
"""Providers of which each region has a door of its own."""
FLOOR = "local"
"""The provider that needs nobody."""


class Deployment(Struct, frozen=True):
    """One place where a model may be asked.

    `door` names the provider object that asks, `account` what shares its credential. `cache_life_s`
    is 0 where beginnings of prompts are not kept.
    """

    name: str
    door: str
    choice: ModelChoice
    account: str
    weight: float = 1.0
    concurrency: int | None = None
    cache_life_s: float = 0.0
    prices: Prices | None = None

    @property
    def floor(self) -> bool:
        """Whether it is the local completer, which answers when all else has failed."""
        return self.choice.provider == FLOOR


def door_of(entry: DeploymentEntry, model: Model) -> str:
    """The name of the provider object that serves an entry."""
    provider = entry.provider or model.provider
    return f"{provider}@{entry.region}" if entry.region and provider in REGIONAL else provider


def doors(models: Mapping[str, Model]) -> dict[str, tuple[str, str]]:
    """Doors besides the providers' own: name -> provider and region."""
    found: dict[str, tuple[str, str]] = {}
    for model in models.values():
        for entry in model.deployments:
            name = door_of(entry, model)
            if "@" in name:
                found[name] = (entry.provider or model.provider, entry.region)
    return found


def deployments(
    catalogue: Catalogue, choice: ModelChoice, configured: Collection[str]
) -> tuple[Deployment, ...]:
    """The places of a model, those that can be called; its provider's own where none is listed.

    A choice that a caller brought, with a server of its own, has that place alone.
    """
    model = catalogue.models.get(choice.id)
    if model is None or choice.brought or not model.deployments:
        return (_only(catalogue, choice, model),)
    return tuple(_listed(catalogue, choice, model, configured))


def _only(catalogue: Catalogue, choice: ModelChoice, model: Model | None) -> Deployment:
    key = "" if choice.target is None else choice.target.api_key
    return Deployment(
        name=f"{choice.provider}/{choice.id}",
        door=choice.provider,
        choice=choice,
        account=f"{choice.provider} {hash(key)}" if key else choice.provider,
        cache_life_s=catalogue.cache_life_s.get(choice.provider, 0.0),
        prices=None if model is None or choice.brought else model.prices,
    )


def _listed(
    catalogue: Catalogue, choice: ModelChoice, model: Model, configured: Collection[str]
) -> Iterator[Deployment]:
    for entry in model.deployments:
        provider, door = entry.provider or model.provider, door_of(entry, model)
        if door not in configured and not entry.api_key and not entry.base_url:
            continue
        own = choice.target if provider == model.provider else None
        key = entry.api_key or ("" if own is None else own.api_key)
        url = entry.base_url.rstrip("/")
        served = replace(
            choice,
            provider=provider,
            engine=choice.engine if provider == model.provider else provider,
            upstream=entry.upstream or choice.upstream,
            target=Target(url, key) if url or key else None,
        )
        yield Deployment(
            name=entry.name,
            door=door,
            choice=served,
            account=f"{door} {url} {hash(key)}",
            weight=entry.weight,
            concurrency=entry.concurrency,
            cache_life_s=catalogue.cache_life_s.get(provider, 0.0),
            prices=model.prices,
        )
