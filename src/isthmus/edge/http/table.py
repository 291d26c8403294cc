"""Which handler serves a path and a method.

A path without parameters is found by one lookup; the few that have some are tried in their order,
and the last ones found are remembered.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from re import Pattern
from types import MappingProxyType

from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from isthmus.edge.http.endpoint import Endpoint, Handle
from isthmus.edge.http.exchange import EXCHANGE, Exchange
from isthmus.edge.http.refusals import unserved
from isthmus.edge.http.reply import Reply

PARAMETERS = "path_params"
Later = Callable[[], Iterable[Endpoint]]
"""Loads endpoints that a start should not wait for."""

_NONE: Mapping[str, str] = MappingProxyType({})
# Paths come from callers: few and short ones are kept, and a full memory starts anew.
_PATHS_KEPT = 256
_PATH_KEPT_CHARS = 256


class Table:
    """The ASGI application behind all layers: endpoints by path, then by method.

    Those of `later` come in with the first path that fits no other. Raises ValueError when two
    endpoints claim one method and path.
    """

    def __init__(self, endpoints: Iterable[Endpoint], later: Later | None = None) -> None:
        self._later = later
        self._plain: dict[str, _Resource] = {}
        self._patterns: list[tuple[Pattern[str], _Resource]] = []
        self._found: dict[str, tuple[_Resource, Mapping[str, str]]] = {}
        self._by_path: dict[str, _Resource] = {}
        self._add(endpoints)

    def _add(self, endpoints: Iterable[Endpoint]) -> None:
        for endpoint in endpoints:
            resource = self._by_path.get(endpoint.path)
            if resource is None:
                resource = self._by_path[endpoint.path] = _Resource(endpoint.path)
                self._place(resource)
            resource.add(endpoint)

    def _place(self, resource: "_Resource") -> None:
        if "{" in resource.path:
            self._patterns.append((compile_path(resource.path)[0], resource))
        else:
            self._plain[resource.path] = resource

    def template(self, path: str) -> str:
        """The template that this path fits, or nothing."""
        resource, _ = self._find(path)
        return "" if resource is None else resource.path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        resource, parameters = self._find(scope["path"])
        if resource is None and self._later is not None:
            await self._load(self._later)
            resource, parameters = self._find(scope["path"])
        if resource is None:
            await unserved(scope[EXCHANGE], 404)(scope, receive, send)
            return
        exchange: Exchange = scope[EXCHANGE]
        exchange.route = resource.path
        scope[PARAMETERS] = parameters
        method = scope["method"]
        if method not in resource.handles:
            allow = ", ".join(sorted(resource.handles))
            await unserved(exchange, 405, {"allow": allow})(scope, receive, send)
            return
        response = await resource.handles[method](Request(scope, receive))
        if type(response) is Reply and exchange.answer(
            scope, response.status_code, response.raw_headers, response.body
        ):
            return
        await response(scope, receive, send)

    async def _load(self, later: Later) -> None:
        endpoints = await asyncio.to_thread(later)
        if self._later is not None:  # nobody else did meanwhile
            self._later = None
            self._add(endpoints)

    def _find(self, path: str) -> "tuple[_Resource | None, Mapping[str, str]]":
        if path in self._plain:
            return self._plain[path], _NONE
        if path in self._found:
            return self._found[path]
        for pattern, candidate in self._patterns:
            match = pattern.match(path)
            if match:
                found = candidate, MappingProxyType(match.groupdict())
                if len(path) <= _PATH_KEPT_CHARS:
                    if len(self._found) >= _PATHS_KEPT:
                        self._found.clear()
                    self._found[path] = found
                return found
        return None, _NONE


class _Resource:
    """What one path does, method by method."""

    __slots__ = ("handles", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.handles: dict[str, Handle] = {}

    def add(self, endpoint: Endpoint) -> None:
        if endpoint.method in self.handles:
            raise ValueError(f"two endpoints claim {endpoint.method} {endpoint.path}")
        self.handles[endpoint.method] = endpoint.handle
        if endpoint.method == "GET":
            # An answer to HEAD is the one to GET; the server leaves its body out.
            self.handles.setdefault("HEAD", endpoint.handle)
