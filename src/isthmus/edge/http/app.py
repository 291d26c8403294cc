"""The HTTP application: routes found by a scan, layers in one list."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from types import ModuleType
from typing import cast

from starlette.types import ASGIApp

from isthmus.core.discovery import discover
from isthmus.edge.http import health, instance, internal, probe, v1, v2, v3, v4, wellknown
from isthmus.edge.http.auth import Authentication
from isthmus.edge.http.cors import Cors
from isthmus.edge.http.departure import Departure
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.errors import Errors
from isthmus.edge.http.membership import Membership
from isthmus.edge.http.middleware import Access, BodyLimit
from isthmus.edge.http.openapi import documentation
from isthmus.edge.http.table import Later, Table
from isthmus.edge.services import Services

VERSIONS = (v1, v2, v3, v4, internal)
INSTANCE = (instance,)
ALIASED = "/v1/proxy/"
ALIAS_PREFIX = "/ai"


def create(services: Services) -> ASGIApp:
    """The whole application."""
    return assemble(services, endpoints_of(services))


def assemble(services: Services, endpoints: list[Endpoint], later: Later | None = None) -> ASGIApp:
    """These endpoints behind every layer; the provider proxies once more under `ALIAS_PREFIX`.

    Those of `later` are called for in a thread when a path fits no other. Raises ValueError when
    two endpoints claim one method and path.
    """
    table = Table(_aliased([*endpoints, *documentation(services.http, endpoints)]), later)
    layers: list[Callable[[ASGIApp], ASGIApp]] = [  # the outermost first
        partial(
            Access,
            telemetry=services.telemetry,
            clock=services.clock,
            template=table.template,
            traces=services.traces,
        ),
        Cors,
        Departure,
        partial(Errors, telemetry=services.telemetry, payloads=services.payloads),
        partial(_closed, services=services),
        partial(BodyLimit, limit_bytes=services.http.body_limit_bytes),
    ]
    app: ASGIApp = table
    for layer in reversed(layers):
        app = layer(app)
    return app


def _closed(app: ASGIApp, services: Services) -> ASGIApp:
    """Gateway callers by their tokens; members, on the paths of the instance API, by theirs."""
    outside = Authentication(app, services.authenticator)
    if services.instance is None:
        return outside
    secret = services.instance_settings.relay_secret.get_secret_value()
    return Membership(app, outside, services.instance, secret)


def endpoints_of(services: Services) -> list[Endpoint]:
    """Every endpoint that a module of the API declares, in the order of paths."""
    found = gateway_endpoints(services)
    if services.instance is not None:
        found += instance_endpoints(services)
    return _sorted(found)


def gateway_endpoints(services: Services) -> list[Endpoint]:
    """Those of the gateway alone."""
    found = [*health.routes(services), *probe.routes(services), *wellknown.routes(services)]
    for routes in _declared(VERSIONS):
        found += routes(services)
    return _sorted(found)


def instance_endpoints(services: Services) -> list[Endpoint]:
    """Those of the instance API alone; the first call loads them, which takes a while."""
    return _sorted(each for routes in _declared(INSTANCE) for each in routes(services))


def load_instance() -> None:
    """Import the modules of the instance API."""
    _declared(INSTANCE)


def _sorted(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    return sorted(endpoints, key=lambda endpoint: (endpoint.path, endpoint.method))


@cache
def _declared(
    packages: tuple[ModuleType, ...],
) -> tuple[Callable[[Services], list[Endpoint]], ...]:
    """`routes` of every module in these packages; they are scanned once in a process."""
    found: list[Callable[[Services], list[Endpoint]]] = []
    for package in packages:
        for name, routes in discover(package, "routes").items():
            if not callable(routes):
                raise TypeError(f"{package.__name__}.{name}.routes must be a function")
            found.append(cast("Callable[[Services], list[Endpoint]]", routes))
    return tuple(found)


def _aliased(endpoints: list[Endpoint]) -> list[Endpoint]:
    aliases = [
        replace(endpoint, path=ALIAS_PREFIX + endpoint.path)
        for endpoint in endpoints
        if endpoint.path.startswith(ALIASED)
    ]
    return [*endpoints, *aliases]
