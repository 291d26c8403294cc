"""Every host that the settings have us call, and whether those that nothing else tries answer."""

import asyncio
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from isthmus.adapters.outbound.proxy import NoProxy, Proxy, proxy_of
from isthmus.adapters.outbound.target import Origin
from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject
from isthmus.doctor.reach import reason_of
from isthmus.settings import SettingsError

CONNECT_S = 5.0


async def check(case: Case) -> Sequence[Finding]:
    """The list, then a finding for each host that does not answer."""
    try:
        proxy = proxy_of(case.settings.outbound.proxy_url.get_secret_value())
    except SettingsError as error:
        path, _, cause = str(error).partition(": ")
        return [Subject("egress", path).fail(cause, path, "http://HOST:PORT")]
    called, tried = addresses(case)
    direct = NoProxy(case.settings.outbound.no_proxy)
    said = [_said(url, proxy, direct) for url in called]
    subject = Subject("egress", f"{len(said)} hosts that settings name")
    listed = subject.ok(", ".join(dict.fromkeys(said)) or "none: this server calls nobody")
    wanted = [(url, path) for url, path in called.items() if url not in tried]
    if proxy is not None:
        wanted.append((f"http://{proxy.host}:{proxy.port}", "outbound.proxy_url"))
    found = await asyncio.gather(*(_reached(case, url, path) for url, path in wanted))
    return [listed, *(one for one in found if one is not None)]


def addresses(case: Case) -> tuple[dict[str, str], set[str]]:
    """URL -> setting, for every one that is called; and those that other checks try."""
    found, tried = dict[str, str](), set[str]()
    named = [(path, url, True) for path, url in _tried(case)]
    named += [(path, url, False) for path, url in _others(case)]
    for path, url, elsewhere in named:
        full = url.strip() if "://" in url else f"https://{url.strip()}"
        if url.strip():
            found.setdefault(full, path)
            if elsewhere:
                tried.add(full)
    return found, tried


def _tried(case: Case) -> Iterator[tuple[str, str]]:
    auth, providers = case.settings.auth, case.settings.providers
    yield "auth.gitlab_url", auth.gitlab_url
    yield "auth.platform_gitlab_url", auth.platform_gitlab_url
    yield "auth.customer_portal_url", auth.customer_portal_url
    yield "auth.platform_customer_portal_url", auth.platform_customer_portal_url
    yield from (("auth.issuers", url) for url in auth.issuers)
    vendors = (
        ("anthropic", providers.anthropic),
        ("openai", providers.openai),
        ("azure", providers.azure),
        ("mistral", providers.mistral),
        ("fireworks", providers.fireworks),
    )
    for name, own in vendors:
        default = str(type(own).model_fields["base_url"].default)
        if own.api_key.get_secret_value() or own.base_url != default:
            yield f"providers.{name}.base_url", own.base_url
    yield "providers.vertex.endpoint", providers.vertex.endpoint
    yield "providers.bedrock.base_url", providers.bedrock.base_url
    for name, one in case.settings.routing.deployments.items():
        yield f"routing.deployments.{name}.base_url", one.base_url
    yield from ((f"instances.{name}.url", one.url) for name, one in case.settings.instances.items())
    yield "instance.gitlab_url", case.settings.instance.gitlab_url
    yield "instance.oidc.issuer", case.settings.instance.oidc.issuer


def _others(case: Case) -> Iterator[tuple[str, str]]:
    settings = case.settings
    events = settings.events
    streams = (
        ("product", events.product),
        ("billing", events.billing),
        ("suggestions", events.suggestions),
    )
    for name, stream in streams:
        if stream.enabled:
            yield f"events.{name}.endpoint", stream.endpoint
    if settings.tracing.enabled:
        yield "tracing.endpoint", settings.tracing.endpoint
    yield "providers.vertex.token_url", settings.providers.vertex.token_url
    yield "providers.bedrock.sts_url", settings.providers.bedrock.sts_url
    yield "quota.url", settings.quota.url
    yield "platform.scan.url", settings.platform.scan.url
    yield from (("mcp.servers", server.url) for server in settings.mcp.servers.values())
    if settings.runners.kind == "kubernetes":
        yield "runners.kubernetes.url", settings.runners.kubernetes.url


def _said(url: str, proxy: Proxy | None, direct: NoProxy) -> str:
    origin = _origin(url)
    if origin is None:
        return "an address that cannot be read"
    through = proxy is not None and origin.tls and not direct.covers(origin)
    return f"{origin.host}:{origin.port}" + (" (by the proxy)" if through else "")


async def _reached(case: Case, url: str, path: str) -> Finding | None:
    origin = _origin(url)
    subject = Subject("egress", f"{url} ({path})")
    if origin is None:
        return subject.fail("the address cannot be read", path, "http(s)://HOST[:PORT]/PATH")
    if path != "outbound.proxy_url" and case.settings.outbound.proxy_url.get_secret_value():
        return None
    try:
        async with asyncio.timeout(min(CONNECT_S, case.limit_s * 0.9)):
            _, writer = await asyncio.open_connection(origin.host, origin.port)
    except (OSError, UnicodeError) as error:  # TimeoutError is one
        reason = reason_of(error, url, path)
        return subject.fail(reason.cause, reason.setting, reason.mend)
    writer.close()
    return None


def _origin(url: str) -> Origin | None:
    try:
        parts = urlsplit(url)
        tls = parts.scheme in {"https", "wss"}
        host = parts.hostname
        return Origin(tls, host, parts.port or (443 if tls else 80)) if host else None
    except ValueError:
        return None
