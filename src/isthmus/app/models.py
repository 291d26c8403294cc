"""The model layer: Settings -> providers, catalogue and Models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from isthmus.adapters.providers._load import load_providers
from isthmus.adapters.providers._mock import mocked
from isthmus.core.events import Noted
from isthmus.core.policies import Reserver
from isthmus.core.ports import Clock, ModelProvider, Outbound, Telemetry
from isthmus.routing.calls import Governance
from isthmus.routing.catalogue import Catalogue, CatalogueError, CustomModels, parse_catalogue
from isthmus.routing.deployment import doors
from isthmus.routing.exact import Exact
from isthmus.routing.models import Models
from isthmus.routing.quota import Quotas
from isthmus.settings import InstanceModels, ProvidersSettings, Settings, SettingsError
from isthmus.settings_instances import with_instances
from isthmus.settings_redaction import RedactionSettings

PATHS = (
    *("models.defaults", "models.params", "models.custom_headers", "models.mock"),
    *("providers", "routing", "redaction", "limits.rules", "limits.match"),
)
"""Settings of the model layer that are taken without a restart."""


@dataclass(frozen=True, slots=True)
class Means:
    """What the layer is built on, whatever the settings say. `library` is models.yml."""

    library: bytes
    outbound: Outbound
    limiter: Reserver
    clock: Clock
    telemetry: Telemetry


class ModelLayer:
    """Builds `models`, and builds it again when settings were read again."""

    def __init__(self, settings: Settings, means: Means) -> None:
        """Raises SettingsError naming what is wrong."""
        self._means = means
        providers, catalogue, governance = self._parts(settings)
        self.models = Models(
            providers, catalogue, settings.outbound, means.telemetry, means.clock, governance
        )

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Build what these settings say; what is returned swaps. Raises SettingsError."""
        providers, catalogue, governance = self._parts(settings)
        return partial(self.models.adopt, providers, catalogue, settings.outbound, governance)

    def _parts(
        self, settings: Settings
    ) -> tuple[Mapping[str, ModelProvider], Catalogue, Governance]:
        catalogue = _catalogue(self._means.library, settings)
        governance = self._governance(settings)
        if settings.instances:
            governance = replace(governance, instances=_narrowed(catalogue, settings))
        return self._providers(settings, catalogue), catalogue, governance

    def _providers(self, settings: Settings, catalogue: Catalogue) -> Mapping[str, ModelProvider]:
        found = self._loaded(settings.providers, settings)
        for door, (provider, region) in doors(catalogue.models).items():
            there = _at(settings.providers, provider, region)
            found[door] = self._loaded(there, settings)[provider]
        if settings.models.mock:
            self._means.telemetry.emit(
                Noted("critical", "`models.mock` is on: no model is called.")
            )
            return mocked(found)
        return found

    def _governance(self, settings: Settings) -> Governance:
        kept = settings.routing.exact_cache
        exact = Exact(kept.life_s, kept.bytes) if kept.enabled else None
        quotas = None
        limits = with_instances(settings.limits, settings.instances)
        if limits.rules:
            quotas = Quotas(limits, self._means.limiter, self._means.telemetry)
        guard = None
        if settings.redaction != RedactionSettings():
            # Its rules take a while to load, mostly for nothing.
            from isthmus.redaction.guard import open_guard  # noqa: PLC0415

            guard = open_guard(settings.redaction, self._means.telemetry)
        return Governance(settings.routing, quotas, guard, exact)

    def _loaded(self, providers: ProvidersSettings, settings: Settings) -> dict[str, ModelProvider]:
        return load_providers(providers, self._means.outbound, self._means.clock, settings.outbound)


def _at(providers: ProvidersSettings, provider: str, region: str) -> ProvidersSettings:
    """The same, with one provider in another region."""
    if provider == "vertex":
        vertex = providers.vertex.model_copy(update={"location": region, "endpoint": ""})
        return providers.model_copy(update={"vertex": vertex})
    bedrock = providers.bedrock.model_copy(update={"region": region, "base_url": ""})
    return providers.model_copy(update={"bedrock": bedrock})


def _catalogue(library: bytes, settings: Settings) -> Catalogue:
    given = settings.models, settings.providers.openai, settings.routing.deployments
    try:
        found = parse_catalogue(library, *given)
    except CatalogueError as error:
        raise SettingsError(str(error)) from error
    return replace(found, custom=_custom(settings))


def _narrowed(catalogue: Catalogue, settings: Settings) -> dict[str, Catalogue]:
    """The catalogue of each instance that may not use all of it."""
    from isthmus.routing.narrow import narrowed  # noqa: PLC0415 - most serve one instance

    own = settings.providers
    homes = {"vertex": own.vertex.location, "bedrock": own.bedrock.region}
    try:
        return {
            name: narrowed(catalogue, name, one, homes)
            for name, one in settings.instances.items()
            if one.region or one.models != InstanceModels()
        }
    except CatalogueError as error:
        raise SettingsError(str(error)) from error


def _custom(settings: Settings) -> CustomModels:
    own = settings.providers
    keyed = ((one.base_url, one.api_key) for one in (own.openai, own.mistral, own.fireworks))
    return CustomModels(
        settings.models.custom_enabled,
        own.fireworks.base_url,
        tuple((name.lower(), text) for name, text in settings.models.custom_headers.items()),
        {url.rstrip("/"): key.get_secret_value() for url, key in keyed if key.get_secret_value()},
    )
