"""The way through the proxy in front: streams in pieces, upgrades, gRPC, and who it says calls."""

import asyncio
import importlib.util
import time
import zlib
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from isthmus.adapters.outbound.trust import identified, papers, trust
from isthmus.core.errors import Failure
from isthmus.core.messages import OutboundRequest
from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject
from isthmus.doctor.own import credentials
from isthmus.doctor.reach import certificate_reason, reason_of

PATH: Final = "/monitoring/probe"
SETTING: Final = "the proxy in front"
TEXT_LIMIT_BYTES: Final = 64 * 1024
HELD: Final = 0.5
"""Share of the stream's time that its pieces must be spread over, to count as not held back."""
_PREFIX: Final = b"data: "


class Sight(Struct, frozen=True):
    """What the server says that it sees of a request."""

    client: str
    scheme: str
    forwarded: bool
    believing: bool
    lasts_s: float


async def check(case: Case) -> Sequence[Finding]:
    """Findings for each address of `--via`."""
    if not case.asked.via:
        return []
    headers = await asyncio.to_thread(credentials, case.settings)
    if not headers:
        subject = Subject("via", ", ".join(case.asked.via))
        return [subject.skip("no key is there yet to ask by: start the server once")]
    looks = (_one(case, url.rstrip("/"), headers) for url in case.asked.via)
    return [one for found in await asyncio.gather(*looks) for one in found]


async def _one(case: Case, url: str, headers: tuple[tuple[str, str], ...]) -> Sequence[Finding]:
    if url.startswith(("grpc://", "grpcs://")):
        return [await _grpc(case, url)]
    stream, *rest = await asyncio.gather(_stream(case, url, headers), _upgrade(case, url, headers))
    return [*stream, *rest]


async def _stream(case: Case, url: str, headers: tuple[tuple[str, str], ...]) -> Sequence[Finding]:
    subject = Subject("via.stream", f"{url}{PATH}")
    # As clients do: what a proxy compresses, it likes to hold back until there is much of it.
    wanted = ("accept", "text/event-stream"), ("accept-encoding", "gzip")
    request = OutboundRequest("GET", url + PATH, (*headers, *wanted))
    came: list[float] = []
    text = b""
    try:
        async with case.outbound.open(request, case.deadline()) as reply:
            async for chunk in reply.chunks():
                came.append(time.monotonic())
                text += chunk[: TEXT_LIMIT_BYTES - len(text)]
            status = reply.status
            packed = dict(reply.headers).get("content-encoding") == "gzip"
    except Failure as error:
        reason = reason_of(error, url, "--via")
        return [subject.fail(reason.cause, reason.setting, reason.mend)]
    sight = _sight(_unpacked(text) if packed else text) if status == 200 else None
    if sight is None:
        return [_strange(subject, status)]
    spread_s = came[-1] - came[0]
    if spread_s < sight.lasts_s * HELD:
        cause = (
            f"what the server sends over {sight.lasts_s:.1f} s arrives within {spread_s:.1f} s: "
            "the proxy holds streams back"
        )
        mend = "nginx: proxy_buffering off; proxy_http_version 1.1; others: flush at once"
        return [subject.fail(cause, SETTING, mend), *_forwarded(url, sight)]
    return [subject.ok(f"{len(came)} pieces over {spread_s:.1f} s"), *_forwarded(url, sight)]


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, TEXT_LIMIT_BYTES)
    except zlib.error:
        return b""


def _sight(text: bytes) -> Sight | None:
    line = next((line for line in text.split(b"\n") if line.startswith(_PREFIX)), b"")
    try:
        return msgspec.json.decode(line.removeprefix(_PREFIX), type=Sight)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _strange(subject: Subject, status: int) -> Finding:
    if status in {401, 403}:
        cause = "a server is behind it that does not know our key, or the headers do not pass"
        mend = "nginx: proxy_pass to this server, and pass Authorization and X-Gitlab-* on"
        return subject.fail(cause, SETTING, mend)
    if status in {502, 503, 504}:
        cause = f"the proxy does not reach the server (status {status})"
        mend = "correct the upstream's address in the proxy; is the server up, and by TLS or not?"
        return subject.fail(cause, SETTING, mend)
    cause = f"something else than this server answers (status {status})"
    return subject.fail(cause, SETTING, "send / of that address to this server")


def _forwarded(url: str, sight: Sight) -> Sequence[Finding]:
    """Whether the server believes the proxy in who calls, and by which scheme."""
    subject = Subject("via.forwarded", f"X-Forwarded-For and -Proto of {url}")
    path, wanted = "http.trusted_proxies", urlsplit(url).scheme
    if not sight.forwarded:
        cause = "the proxy does not say for whom it calls: logs and limits see the proxy alone"
        mend = "nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for"
        return [subject.warn(cause, SETTING, mend)]
    if not sight.believing or sight.scheme != wanted:
        cause = f"it says for whom it calls, and is not believed: {sight.client} is not listed"
        return [subject.warn(cause, path, f"set {path} to {sight.client}, and restart")]
    return [subject.ok(f"believed: {sight.client} calls by {sight.scheme}")]


async def _upgrade(case: Case, url: str, headers: tuple[tuple[str, str], ...]) -> Finding:
    where = f"ws{url.removeprefix('http')}{PATH}"
    subject = Subject("via.upgrade", where)
    if not case.settings.instance.enabled:
        return subject.skip("instance.enabled is off: there are no WebSockets")
    if importlib.util.find_spec("websockets") is None:
        return subject.skip("needs the extra isthmus[instance]")
    from websockets.asyncio.client import connect  # noqa: PLC0415 - an extra
    from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException  # noqa: PLC0415

    secure = url.startswith("https:")
    context = await asyncio.to_thread(trust, case.settings.outbound) if secure else None
    limit_s = case.limit_s * 0.8
    try:
        async with (
            asyncio.timeout(limit_s),
            connect(where, ssl=context, additional_headers=headers, proxy=None) as socket,
        ):
            await socket.recv()
    except InvalidStatus as error:
        return _not_upgraded(subject, error.response.status_code)
    except (InvalidHandshake, WebSocketException) as error:
        cause = f"the upgrade breaks off ({type(error).__name__})"
        return subject.fail(cause, SETTING, _UPGRADE)
    except (OSError, TimeoutError) as error:
        reason = reason_of(error, url, "--via")
        return subject.fail(reason.cause, reason.setting, reason.mend)
    return subject.ok("a WebSocket opens, and a message comes")


_UPGRADE: Final = (
    "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
    "proxy_set_header Connection $connection_upgrade"
)


def _not_upgraded(subject: Subject, status: int) -> Finding:
    cause = f"the proxy does not pass upgrades to WebSockets on (status {status})"
    return subject.fail(cause, SETTING, _UPGRADE)


async def _grpc(case: Case, url: str) -> Finding:
    subject = Subject("via.grpc", url)
    try:
        from isthmus.doctor.grpc_health import Door, ask  # noqa: PLC0415 - an extra
    except ImportError:
        return subject.skip("needs the extra isthmus[platform]")
    parts = urlsplit(url)
    secure = parts.scheme == "grpcs"
    target = f"{parts.hostname}:{parts.port or (443 if secure else 80)}"
    shown = await asyncio.to_thread(papers, case.settings.outbound) if secure else None
    if secure:
        flaw = await asyncio.to_thread(_untrusted, case, target)
        if flaw is not None:
            return subject.fail(*flaw)
    said = await ask(Door(target, shown), case.limit_s * 0.8)
    if said == "SERVING":
        return subject.ok("HTTP/2 and gRPC pass")
    cause = f"gRPC does not pass ({said})"
    mend = "nginx: listen ... http2; grpc_pass grpc://HOST:50052; others: HTTP/2 to the server"
    return subject.fail(cause, SETTING, mend)


def _untrusted(case: Case, target: str) -> tuple[str, str, str] | None:
    """Why TLS to the proxy fails, which grpc itself does not tell. Blocking."""
    import socket  # noqa: PLC0415
    import ssl  # noqa: PLC0415

    host, _, port = target.rpartition(":")
    context = identified(case.settings.outbound)
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, int(port)), case.limit_s * 0.5) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            agreed = secure.selected_alpn_protocol()
    except ssl.SSLCertVerificationError as error:
        reason = certificate_reason(error, target, "--via")
        return reason.cause, reason.setting, reason.mend
    except OSError as error:
        reason = reason_of(error, f"https://{target}", "--via")
        return reason.cause, reason.setting, reason.mend
    if agreed != "h2":
        return "the proxy does not offer HTTP/2 there", SETTING, "nginx: listen ... ssl http2"
    return None
