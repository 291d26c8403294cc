"""Who is told of each use: the portal that counts credits, the collectors of events."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from isthmus.adapters.outbound.target import target_of
from isthmus.adapters.quota.portal import Portal, PortalQuota
from isthmus.adapters.telemetry.collector import Stream
from isthmus.adapters.telemetry.events import Events, stream_of
from isthmus.adapters.telemetry.pipeline import Sink
from isthmus.adapters.telemetry.snowplow import Structured
from isthmus.core.errors import MisconfiguredProvider
from isthmus.core.ports import Clock, Outbound, Quota, Telemetry
from isthmus.settings import EventsSettings, Settings, SettingsError

if TYPE_CHECKING:  # loaded where it is wanted
    from isthmus.adapters.telemetry.otlp import Spans

GITLAB_PORTAL = "https://customers.gitlab.com"
_PORTALS = frozenset(("customer_portal_url", "platform_customer_portal_url"))
_HEADER = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def open_quota(
    settings: Settings, outbound: Outbound, clock: Clock, telemetry: Telemetry
) -> Quota | None:
    """The check for credits; None unless a user and a token for it are set.

    With an offline licence, which is a portal that is set and empty, there is nobody to ask.
    Raises SettingsError for values that cannot be sent.
    """
    own, auth = settings.quota, settings.auth
    token = own.api_token.get_secret_value()
    if not (own.api_user and token):
        return None
    for name, value in (("quota.api_user", own.api_user), ("quota.api_token", token)):
        if not _HEADER.fullmatch(value):
            raise SettingsError(f"{name}: holds a character that a header cannot carry")
    url = own.url or auth.platform_customer_portal_url or auth.customer_portal_url
    if not url and _PORTALS & auth.model_fields_set:
        return None
    portal = Portal(
        url=_url("quota.url", url or GITLAB_PORTAL),
        user=own.api_user,
        token=token,
        timeout_s=own.timeout_s,
        ttl_s=own.ttl_s,
        environment=settings.environment,
    )
    return PortalQuota(portal, outbound, clock, telemetry)


def event_streams(settings: EventsSettings) -> dict[str, Stream[Structured]]:
    """The streams that are on, by name. Raises SettingsError for one that leads nowhere."""
    streams: dict[str, Stream[Structured]] = {}
    table = {
        "product": settings.product,
        "billing": settings.billing,
        "suggestions": settings.suggestions,
    }
    for name, own in table.items():
        if own.enabled:
            if not own.endpoint:
                raise SettingsError(f"events.{name}.endpoint: the stream is on and goes nowhere")
            url = own.endpoint if "://" in own.endpoint else f"https://{own.endpoint}"
            _url(f"events.{name}.endpoint", url)
            to = own.model_copy(update={"endpoint": url})
            streams[name] = stream_of(name, to, settings.queue_limit)
    return streams


def event_sink(streams: Mapping[str, Stream[Structured]], settings: Settings) -> Sink:
    """What puts facts into the streams."""
    return Events(streams, settings.environment, settings.gateway.region).take


def open_spans(settings: Settings) -> "Spans | None":
    """What makes spans; None when nobody wants them. Raises SettingsError."""
    if not settings.tracing.enabled:
        return None
    from isthmus.adapters.telemetry.otlp import Spans  # noqa: PLC0415 - only where it is wanted

    _url("tracing.endpoint", settings.tracing.endpoint)
    return Spans(settings.tracing, settings.environment)


def _url(name: str, url: str) -> str:
    try:
        target_of(url)
    except MisconfiguredProvider as error:
        raise SettingsError(f"{name}: this is no URL that can be called") from error
    if "?" in url or "#" in url:
        raise SettingsError(f"{name}: must not hold a query or a fragment")
    return url.rstrip("/")
