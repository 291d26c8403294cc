"""Each port of ours: free, ours and well, or somebody else's."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from isthmus.adapters.keysets.jwks import ANSWER_LIMIT_BYTES, parse_jwks
from isthmus.adapters.keysets.keyfile import UnsafeKeyFile, load_former
from isthmus.adapters.outbound.client import HttpClient
from isthmus.adapters.outbound.trust import Papers, authorities, papers
from isthmus.auth.strict import Malformed, decode_object
from isthmus.core.errors import Failure
from isthmus.core.messages import OutboundRequest
from isthmus.doctor.case import Case
from isthmus.doctor.certificates import Flaw, handshake_flaw, read_pair
from isthmus.doctor.finding import Finding, Subject
from isthmus.doctor.own import credentials, signing_key
from isthmus.doctor.ports import accepts, joined, near, owner, refusal, served
from isthmus.running import snapshots
from isthmus.settings import OutboundSettings, TlsSettings

OWN_S = 6.0
"""What our own listener may take to answer."""
SERIES = b"isthmus_build_info"


@dataclass(frozen=True, slots=True)
class Place:
    """A listener as it is set; `path` is the setting of its port."""

    name: str
    path: str
    transport: str
    host: str
    port: int
    tls: TlsSettings

    @property
    def address(self) -> str:
        """Where this machine reaches it."""
        return joined(near(self.host), self.port)


async def check(case: Case) -> Sequence[Finding]:
    """A finding for each listener."""
    running = await asyncio.to_thread(lambda: {*snapshots_of(case)})
    client = HttpClient(OutboundSettings(verify=False), case.clock)
    try:
        looks = (_look(case, client, place, running) for place in places(case))
        return [one for found in await asyncio.gather(*looks) for one in found]
    finally:
        await client.aclose()


def snapshots_of(case: Case) -> list[str]:
    """The transports that servers on this data folder run. Blocking."""
    shots = snapshots(case.settings.data_dir)
    texts = [shot.values["transports"].text for shot in shots if "transports" in shot.values]
    return [name for text in texts for name in ("http", "grpc") if name in text]


def places(case: Case) -> list[Place]:
    """The listeners that are set and have a port of their own."""
    settings, plain = case.settings, TlsSettings()
    found: list[Place] = []
    for transport, own in (("http", settings.http), ("grpc", settings.grpc)):
        if transport not in settings.transports:
            continue
        found.append(Place(transport, f"{transport}.port", transport, own.host, own.port, own.tls))
        if own.metrics_port is not None:
            at = own.metrics_host, own.metrics_port
            name = f"{transport} metrics"
            found.append(Place(name, f"{transport}.metrics_port", transport, *at, plain))
    return [place for place in found if place.port]


async def _look(
    case: Case, client: HttpClient, place: Place, running: set[str]
) -> Sequence[Finding]:
    where = f"{joined(place.host, place.port)} ({place.path}, {case.source(place.path)})"
    subject = Subject(f"listeners.{place.name.replace(' ', '_')}", where)
    if not await asyncio.to_thread(accepts, place.host, place.port):
        return [await asyncio.to_thread(_silent, subject, place, place.transport in running)]
    if place.tls.client_auth == "required":
        # More than a handshake takes a client's certificate, which we have not.
        found = subject.ok("it shows its certificate, and asks for a client's")
    elif place.name == "http":
        found = await _http(case, client, place, subject)
    elif place.name == "grpc":
        found = await _grpc(case, place, subject)
    else:
        found = await _metrics(case, client, place, subject)
    stale = await asyncio.to_thread(_served, place, subject) if place.tls.enabled else None
    return [stale] if stale is not None else [found]


def _silent(subject: Subject, place: Place, running: bool) -> Finding:
    if running:
        cause = "the server runs, and nothing answers there"
        return subject.fail(cause, place.path, "isthmus config diff; then restart the server")
    reason = refusal(place.host, place.port)
    if reason:
        return subject.fail(reason, place.path, f"set {place.path}, or its host, to another one")
    return subject.skip("free: the server is stopped")


async def _http(case: Case, client: HttpClient, place: Place, subject: Subject) -> Finding:
    root = f"{'https' if place.tls.enabled else 'http'}://{place.address}"
    key, former = await asyncio.to_thread(_own, case)
    ours = stale = False
    try:
        async with client.open(
            OutboundRequest("GET", f"{root}/.well-known/jwks.json"), case.deadline()
        ) as reply:
            keys = parse_jwks(decode_object(await reply.read(ANSWER_LIMIT_BYTES)))
        known = {one.n for one in keys}
        ours, stale = key in known, former in known
    except (Failure, Malformed):
        ours = False
    if stale and not ours:
        cause = "the server goes by the key from before `isthmus keys rotate`"
        return subject.warn(cause, "data_dir", "restart the server")
    if not ours:
        return await asyncio.to_thread(_taken, subject, place)
    try:
        async with client.open(
            OutboundRequest("GET", f"{root}/monitoring/ready"), case.deadline()
        ) as reply:
            body, status = await reply.read(ANSWER_LIMIT_BYTES), reply.status
    except Failure as error:
        return subject.fail(f"it does not answer: {error.detail}", place.path, "see the log")
    if status != 200:
        cause = f"it is not ready: {body[:200].decode(errors='replace')}"
        return subject.fail(cause, place.path, "see the findings below, and the server's log")
    return await _known(case, client, root, subject) or subject.ok("ours, and ready")


async def _known(case: Case, client: HttpClient, root: str, subject: Subject) -> Finding | None:
    """Whether a token of our own opens it: authentication as every caller meets it."""
    headers = await asyncio.to_thread(credentials, case.settings)
    request = OutboundRequest("GET", f"{root}/monitoring/probe", headers)
    try:
        async with client.open(request, case.deadline()) as reply:
            status = reply.status
    except Failure as error:
        return subject.fail(f"it does not answer: {error.detail}", "http.port", "see the log")
    if status != 401:
        return None
    cause = "it refuses a token that its own key signed: it goes by other settings, or another time"
    return subject.fail(cause, "auth.service_name", "isthmus config diff; then restart the server")


def _own(case: Case) -> tuple[int, int]:
    """The moduli of a key of ours, and of the one that it replaced; 0 for none."""
    key, former = signing_key(case.settings), None
    with suppress(UnsafeKeyFile, OSError):
        former = load_former(case.settings.data_dir)
    return 0 if key is None else key.public("").n, 0 if former is None else former.n


async def _metrics(case: Case, client: HttpClient, place: Place, subject: Subject) -> Finding:
    request = OutboundRequest("GET", f"http://{place.address}/metrics")
    try:
        async with client.open(request, case.deadline()) as reply:
            page = await reply.read(16 * 1024 * 1024)
            ours = reply.status == 200 and SERIES in page
    except Failure:
        ours = False
    return subject.ok("ours") if ours else await asyncio.to_thread(_taken, subject, place)


async def _grpc(case: Case, place: Place, subject: Subject) -> Finding:
    try:
        from isthmus.doctor.grpc_health import Door, ask  # noqa: PLC0415 - an extra
    except ImportError:
        return subject.skip("it answers; asking more needs the extra isthmus[platform]")
    shown, name = None, ""
    if place.tls.enabled:
        known = await asyncio.to_thread(_roots, case, place.tls)
        if known is None:
            return subject.skip(
                "it answers; its certificate is not trusted here, so no more is asked"
            )
        shown, name = known
    said = await ask(Door(place.address, shown, name), min(case.limit_s * 0.9, OWN_S))
    if said == "SERVING":
        return subject.ok("ours, by HTTP/2, and takes sessions")
    if said == "NOT_SERVING":
        return subject.warn("it takes no sessions now: it starts or drains", place.path, "wait")
    return await asyncio.to_thread(_taken, subject, place)


def _roots(case: Case, tls: TlsSettings) -> tuple[Papers, str] | None:
    """What to trust so as to reach our own listener, and by which name; None: nothing will do."""
    if tls.cert_file is None or tls.key_file is None:
        return None
    pair = read_pair(tls.cert_file, tls.key_file)
    if isinstance(pair, Flaw) or not pair.names:
        return None
    if pair.alone:
        return Papers(pair.leaf.public_bytes(Encoding.PEM)), pair.names[0]
    if handshake_flaw(pair, authorities(case.settings.outbound), "") is not None:
        return None
    return papers(case.settings.outbound), pair.names[0]


def _served(place: Place, subject: Subject) -> Finding | None:
    """A listener that shows another certificate than its file holds, or no TLS."""
    section = place.path.replace(".port", ".tls")
    protocols = ["h2"] if place.transport == "grpc" else ["http/1.1"]
    try:
        shown, agreed = served(place.host, place.port, protocols)
    except ssl.SSLError as error:
        cause = f"what listens there speaks no TLS that we accept ({error.reason})"
        return subject.fail(cause, f"{section}.enabled", "restart the server")
    except OSError as error:
        return subject.fail(f"the handshake breaks off: {error.strerror}", section, "see the log")
    if place.transport == "grpc" and agreed != "h2":
        return subject.fail("it does not agree on HTTP/2", section, "restart the server")
    file = place.tls.cert_file
    if file is None or shown in _leaves(file):
        return None
    cause = "another certificate is shown than the file holds: the new one was not taken"
    return subject.warn(cause, f"{section}.cert_file", "see the server's log; else restart it")


def _leaves(file: Path) -> list[bytes]:
    pem = file.read_text(encoding="ascii", errors="replace")
    blocks = pem.split("-----END CERTIFICATE-----")[:1]
    return [ssl.PEM_cert_to_DER_cert(f"{block}-----END CERTIFICATE-----\n") for block in blocks]


def _taken(subject: Subject, place: Place) -> Finding:
    who = owner(place.port) or "another program"
    cause = f"the port is taken by {who}, which is not this server"
    return subject.fail(cause, place.path, f"stop it, or set {place.path} to another port")
