"""TLS of the gRPC listener: a new certificate is used without a restart."""

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from grpc import aio

from isthmus.edge.grpc.server import credentials
from isthmus.edge.tls import Certificate, CertificateFault
from tests.support.certificates import write_pair


def serial(port: int) -> int:
    """Serial number of the certificate that a new connection is shown."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


async def test_new_connections_see_the_new_certificate(tmp_path: Path) -> None:
    certificate = await asyncio.to_thread(Certificate, write_pair(tmp_path, 1))
    server = aio.server()
    port = server.add_secure_port("127.0.0.1:0", credentials(certificate))
    await server.start()
    try:
        assert await asyncio.to_thread(serial, port) == 1
        write_pair(tmp_path, 2)
        assert await asyncio.to_thread(certificate.renew)
        assert not await asyncio.to_thread(certificate.renew)
        assert await asyncio.to_thread(serial, port) == 2
        write_pair(tmp_path, 3, cert=False)
        with pytest.raises(CertificateFault):
            await asyncio.to_thread(certificate.renew)
        assert await asyncio.to_thread(serial, port) == 2
    finally:
        await server.stop(0)
