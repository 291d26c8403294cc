"""Finds the providers of this package and builds the configured ones."""

import isthmus.adapters.providers as package
from isthmus.adapters.providers._spec import ProviderFactory
from isthmus.core.discovery import discover
from isthmus.core.ports import Clock, ModelProvider, Outbound
from isthmus.settings import OutboundSettings, ProvidersSettings


def load_providers(
    settings: ProvidersSettings, outbound: Outbound, clock: Clock, limits: OutboundSettings
) -> dict[str, ModelProvider]:
    """Name -> provider, for every provider that is configured."""
    built: dict[str, ModelProvider] = {}
    for module, factory in discover(package, "PROVIDER").items():
        if not isinstance(factory, ProviderFactory):
            raise TypeError(f"PROVIDER of {package.__name__}.{module} must be a ProviderFactory")
        provider = factory.build(settings, outbound, clock, limits)
        if provider is not None:
            built[provider.name] = provider
    return built
