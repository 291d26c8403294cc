"""Certificates of the listeners, and the one that we show to others."""

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from isthmus.adapters.outbound.trust import authorities
from isthmus.doctor.case import Case
from isthmus.doctor.certificates import (
    Flaw,
    Pair,
    flaws_of,
    handshake_flaw,
    matches,
    read_pair,
)
from isthmus.doctor.finding import Finding, Subject
from isthmus.settings import SettingsError, TlsSettings


async def check(case: Case) -> Sequence[Finding]:
    """A finding for each fault of each certificate, or one for a certificate without any."""
    return await asyncio.to_thread(lambda: list(_look(case)))


def _look(case: Case) -> Iterator[Finding]:
    settings = case.settings
    instance = settings.instance
    public = {
        "http.tls": _host(instance.external_url) if instance.external_url[:6] == "https:" else "",
        "grpc.tls": _host(f"//{instance.platform_address}") if instance.platform_address else "",
    }
    for path, tls in (("http.tls", settings.http.tls), ("grpc.tls", settings.grpc.tls)):
        subject = Subject(f"tls.{path.partition('.')[0]}", f"{tls.cert_file} ({path})")
        if tls.enabled:
            # Behind a proxy the public name is the proxy's.
            name = "" if settings.http.trusted_proxies else public[path]
            yield from _listener(case, subject, path, tls, name)
            yield from _clients(path, tls)
    own = settings.outbound
    if own.client_cert_file is not None and not own.client_key_password.get_secret_value():
        subject = Subject("tls.client", f"{own.client_cert_file} (outbound.client_cert_file)")
        key = own.client_key_file or own.client_cert_file
        yield from _client(subject, own.client_cert_file, key)


def _listener(
    case: Case, subject: Subject, path: str, tls: TlsSettings, name: str
) -> Iterator[Finding]:
    if tls.cert_file is None or tls.key_file is None:
        return
    pair = read_pair(tls.cert_file, tls.key_file)
    if isinstance(pair, Flaw):
        yield subject.fail(pair.cause, f"{path}.{pair.file}", pair.mend)
        return
    flaws = flaws_of(pair, datetime.now(UTC))  # noqa: TID251 - certificates go by the wall clock
    for flaw in flaws:
        say = subject.fail if flaw.fatal else subject.warn
        yield say(flaw.cause, f"{path}.{flaw.file}", flaw.mend)
    if any(flaw.fatal for flaw in flaws):
        return
    chain = _chain(case, subject, path, pair)
    if chain is not None:
        yield chain
        return
    if name and not matches(pair.names, name):
        cause = f"it is for {', '.join(pair.names[:4])}, and clients call us {name}"
        setting = f"{path}.cert_file"
        yield subject.fail(cause, setting, f"have it made again with the name {name}")
    elif not flaws:
        said = f"for {', '.join(pair.names[:4])}, until {pair.leaf.not_valid_after_utc:%Y-%m-%d}"
        yield subject.ok(said + (", signed by itself" if pair.alone else ""))


def _chain(case: Case, subject: Subject, path: str, pair: Pair) -> Finding | None:
    """What is wrong with how the certificate leads to an authority; None: nothing."""
    if pair.alone:
        return None
    try:
        error = handshake_flaw(pair, authorities(case.settings.outbound), "")
    except SettingsError:
        return None
    if error is None:
        return None
    if not isinstance(error, ssl.SSLCertVerificationError):
        reason = getattr(error, "reason", None) or type(error).__name__
        return subject.fail(f"no handshake is possible with it: {reason}", path, "make it again")
    last = pair.chain[-1].issuer.rfc4514_string()
    cause = (
        f"the chain is not complete: nothing in the file, nor what is trusted here, is `{last}` "
        f"({error.verify_message})"
    )
    mend = f"append the intermediate certificates to {pair.cert_file}, the leaf first"
    if case.settings.outbound.ca_file is not None:
        return subject.fail(cause, f"{path}.cert_file", mend)
    mend += "; for an authority of your own, name its PEM in outbound.ca_file"
    return subject.warn(cause, f"{path}.cert_file", mend)


def _clients(path: str, tls: TlsSettings) -> Iterator[Finding]:
    """The authorities of clients' certificates, where those are asked for."""
    file = tls.client_ca_file
    if tls.client_auth == "none" or file is None:
        return
    subject = Subject(f"tls.{path.partition('.')[0]}_clients", f"{file} ({path}.client_ca_file)")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
        cause = f"no certificate can be read from it: {reason}"
        setting = f"{path}.client_ca_file"
        yield subject.fail(cause, setting, "name the clients' authorities, as PEM")
    else:
        yield subject.ok(f"{len(context.get_ca_certs())} authorities, {tls.client_auth}")


def _client(subject: Subject, cert_file: Path, key_file: Path) -> Iterator[Finding]:
    pair = read_pair(cert_file, key_file)
    if isinstance(pair, Flaw):
        yield subject.fail(pair.cause, f"outbound.client_{pair.file}", pair.mend)
        return
    # Nobody looks for a name in it.
    now = datetime.now(UTC)  # noqa: TID251 - certificates go by the wall clock
    flaws = [flaw for flaw in flaws_of(pair, now) if "subjectAltName" not in flaw.cause]
    for flaw in flaws:
        say = subject.fail if flaw.fatal else subject.warn
        yield say(flaw.cause, f"outbound.client_{flaw.file}", flaw.mend)
    if not flaws:
        yield subject.ok(f"until {pair.leaf.not_valid_after_utc:%Y-%m-%d}")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
