"""The gRPC listener: options, credentials, interceptors in order, health, reflection."""

import errno
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from isthmus.auth.authenticate import Authenticator
from isthmus.contract import contract_pb2, contract_pb2_grpc
from isthmus.core.ports import Telemetry
from isthmus.core.trace import Traces
from isthmus.edge.grpc.auth import Authentication
from isthmus.edge.grpc.health import Health
from isthmus.edge.grpc.interceptors import Correlation, Outcome
from isthmus.edge.grpc.servicer import Dues, SessionServicer
from isthmus.edge.tls import Certificate, Papers, open_certificate
from isthmus.gateway.grant import Grant
from isthmus.platform.catalogue import Catalogue
from isthmus.platform.credits import Credits
from isthmus.platform.host import SessionHost
from isthmus.platform.metering import Metering
from isthmus.platform.tool import Tool
from isthmus.settings import GrpcSettings, PlatformSettings

SERVICE = contract_pb2.DESCRIPTOR.services_by_name["DuoWorkflow"].full_name
HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
METADATA_LIMIT_BYTES = 24 * 1024


@dataclass(frozen=True, slots=True)
class PlatformServices:
    """The use cases that this edge may call."""

    host: SessionHost
    authenticator: Authenticator
    grant: Grant
    tools: Sequence[Tool]
    flows: Catalogue
    telemetry: Telemetry
    traces: Traces | None = None
    credits: Credits = field(default_factory=Credits)


class GrpcListener:
    """A started listener. Health says NOT_SERVING until `set_serving`."""

    def __init__(self, server: aio.Server, health: Health, host: str, port: int) -> None:
        self._server = server
        self._health = health
        self.host = host
        self.port = port

    @property
    def address(self) -> str:
        """`host:port`, with the port that was bound."""
        return joined(self.host, self.port)

    def set_serving(self, serving: bool) -> None:
        """What health checks are told; running sessions go on either way."""
        self._health.set_serving(serving)

    async def stop(self, grace_s: float) -> None:
        """Refuse new streams, give running ones `grace_s` to end, then cancel them."""
        self.set_serving(False)
        await self._server.stop(grace_s)


@asynccontextmanager
async def open_server(
    services: PlatformServices,
    settings: GrpcSettings,
    platform: PlatformSettings,
    *,
    reuse_port: bool = False,
) -> AsyncIterator[GrpcListener]:
    """Listen. Leaving cancels what still runs: call `stop` first to let it end.

    Raises OSError when the address cannot be had, SettingsError when the certificate cannot.
    """
    async with open_certificate(settings.tls, "grpc.tls", services.telemetry) as certificate:
        server = _server(services, settings, platform, reuse_port=reuse_port)
        health = Health(("", SERVICE))
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        port = _bound(server, joined(settings.host, settings.port), certificate)
        await server.start()
        listener = GrpcListener(server, health, settings.host, port)
        try:
            yield listener
        finally:
            await listener.stop(0)


def options(message_limit_bytes: int, *, reuse_port: bool) -> list[tuple[str, int]]:
    """Channel options. Source: agent-platform contract, section 2.1."""
    return [
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.max_receive_message_length", message_limit_bytes),
        ("grpc.max_send_message_length", message_limit_bytes),
        ("grpc.max_metadata_size", METADATA_LIMIT_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_LIMIT_BYTES),
        ("grpc.so_reuseport", int(reuse_port)),
    ]


def joined(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def credentials(certificate: Certificate) -> grpc.ServerCredentials:
    """Credentials that every new connection gets with the newest certificate."""
    used = certificate.papers

    def news() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        if certificate.papers is used:
            return None
        used = certificate.papers
        return _shown(used)

    # None means no change, which grpc's stubs do not know.
    fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", news)
    return grpc.dynamic_ssl_server_credentials(
        _shown(used), fetch, require_client_authentication=used.clients is not None
    )


def _shown(papers: Papers) -> grpc.ServerCertificateConfiguration:
    pair = (papers.key, papers.chain)
    return grpc.ssl_server_certificate_configuration([pair], papers.clients)


def _server(
    services: PlatformServices,
    settings: GrpcSettings,
    platform: PlatformSettings,
    *,
    reuse_port: bool,
) -> aio.Server:
    server = aio.server(
        interceptors=[
            Correlation(services.traces),
            Outcome(services.telemetry),
            Authentication(services.authenticator, reflection=settings.reflection),
        ],
        options=options(platform.message_limit_bytes, reuse_port=reuse_port),
    )
    metering = Metering(services.credits, services.telemetry)
    dues = Dues(services.grant, services.credits, metering)
    contract_pb2_grpc.add_DuoWorkflowServicer_to_server(
        SessionServicer(services.host, dues, services.tools, services.flows), server
    )
    if settings.reflection:
        _reflect(server)
    return server


def _bound(server: aio.Server, address: str, certificate: Certificate | None) -> int:
    try:
        if certificate is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials(certificate))
    except RuntimeError as error:
        raise OSError(errno.EADDRINUSE, f"gRPC cannot listen on {address}") from error


def _reflect(server: aio.Server) -> None:
    # Only a development server pays for this import.
    from grpc_reflection.v1alpha import reflection  # noqa: PLC0415

    names = (SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
