"""What both listeners stand on: Settings -> telemetry, keys, models. Read top to bottom."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from pydantic import SecretStr

from isthmus.adapters.keysets.keyfile import (
    FILE_NAME,
    FIRST_NAME,
    UnsafeKeyFile,
    load_former,
    load_or_create,
)
from isthmus.adapters.limits.open import open_limiter
from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.outbound.traced import Traced
from isthmus.adapters.outbound.trust import customised, identified
from isthmus.adapters.telemetry.collector import Sending, open_collector
from isthmus.adapters.telemetry.log import Log, open_log
from isthmus.adapters.telemetry.pipeline import Pipeline, open_telemetry
from isthmus.adapters.telemetry.prometheus import Prometheus
from isthmus.adapters.telemetry.vitals import About
from isthmus.app.library import read_library
from isthmus.app.metering import event_sink, event_streams, open_quota, open_spans
from isthmus.app.models import Means, ModelLayer
from isthmus.auth.issue import SigningKey, UnusableKey
from isthmus.core.events import Noted
from isthmus.core.ports import Clock, Limiter, Outbound, Quota, VerificationKey
from isthmus.core.trace import Traces
from isthmus.gateway.grant import Grant, Signer
from isthmus.gateway.language import Languages, parse_languages
from isthmus.prompts.registry import Registry
from isthmus.routing.models import Models
from isthmus.settings import Settings, SettingsError

_UNCHECKED = "Certificates of upstream servers are not checked: anybody on the way can read keys."


class SystemClock:
    """The clocks of this machine."""

    # Asked several times a request: no frame of our own in between.
    now_s = staticmethod(time.monotonic)

    def utc(self) -> datetime:
        """The wall clock."""
        return datetime.fromtimestamp(time.time(), UTC)


@dataclass(frozen=True, slots=True)
class Keys:
    """Private keys: the gateway's, the platform's, and the local one when neither is given.

    `former` is what the local one replaced; it is accepted, and signs nothing. `first` is what was
    there before any change.
    """

    gateway: SigningKey
    platform: SigningKey
    local: SigningKey
    first: VerificationKey
    former: tuple[VerificationKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Foundation:
    """Built once; both listeners use it until the server ends."""

    settings: Settings
    log: Log
    telemetry: Pipeline
    metrics: Prometheus
    clock: Clock
    outbound: Outbound
    keys: Keys
    grant: Grant
    layer: ModelLayer
    prompts: Registry
    quota: Quota | None
    traces: Traces | None
    limiter: Limiter
    languages: Languages

    @property
    def models(self) -> Models:
        """The one door to every model."""
        return self.layer.models


@asynccontextmanager
async def open_foundation(settings: Settings) -> AsyncIterator[Foundation]:
    """Open everything that both listeners need. Raises SettingsError naming what is wrong."""
    async with AsyncExitStack() as stack:
        clock = SystemClock()
        tracked = settings.events.product.enabled
        log = await stack.enter_async_context(open_log(settings.logging, tracked=tracked))
        metrics = Prometheus(settings.models.engine_limits, about(settings))
        streams = event_streams(settings.events)
        events = [event_sink(streams, settings)] if streams else []
        spans = open_spans(settings)
        sinks = (log.take, metrics.take, *events, *([spans.take] if spans else []))
        opened = open_telemetry(*sinks, tap=spans.tap if spans else None, lag=metrics.lagged)
        telemetry = await stack.enter_async_context(opened)
        outbound = await stack.enter_async_context(open_client(settings.outbound, clock))
        if not settings.outbound.verify:
            telemetry.emit(Noted("warning", _UNCHECKED, (("setting", "outbound.verify"),)))
        sending = Sending(outbound, clock, telemetry)
        drain_s = settings.drain.deadline_s
        sent = (*streams.values(), *([spans.stream] if spans else []))
        await stack.enter_async_context(open_collector(sent, sending, drain_s))
        quota = open_quota(settings, outbound, clock, telemetry)
        keys = _load_keys(settings)
        grant = Grant(*_signers(settings, keys), clock, telemetry, quota)
        called = Traced(outbound) if spans and settings.tracing.to_providers else outbound
        trust = partial(identified, settings.outbound) if customised(settings.outbound) else None
        opened = open_limiter(settings.limits, clock, telemetry, trust)
        limiter = await stack.enter_async_context(opened)
        library = read_library(settings.data_dir)
        listed = library["models.yml"].encode()
        layer = ModelLayer(settings, Means(listed, called, limiter, clock, telemetry))
        prompts = Registry.below(library, "prompts/")
        yield Foundation(
            *(settings, log, telemetry, metrics, clock),
            *(outbound, keys, grant, layer, prompts, quota),
            spans.traces if spans else None,
            limiter,
            parse_languages(library["languages.yml"]),
        )


def about(settings: Settings) -> About:
    """What metrics tell of this process."""
    both = set(settings.transports) == {"http", "grpc"}
    return About(
        transports=settings.transports,
        repeated=both and settings.http.metrics_port is not None,
        session_limit=settings.platform.max_sessions,
        quiet_limit_s=settings.platform.action_s,
    )


def _signers(settings: Settings, keys: Keys) -> tuple[Signer, Signer]:
    auth = settings.auth
    platform = Signer(auth.platform_service_name, keys.platform)
    return Signer(auth.service_name, keys.gateway), platform


def _load_keys(settings: Settings) -> Keys:
    path = settings.data_dir / FILE_NAME
    try:
        local, former = load_or_create(path), load_former(settings.data_dir)
        first = load_former(settings.data_dir, FIRST_NAME) or local.public("")
    except UnsafeKeyFile as error:
        raise SettingsError(f"data_dir: {error}") from error
    except OSError as error:
        raise SettingsError(f"data_dir: {path} cannot be used: {error.strerror}") from error
    gateway = _signing_key("auth.signing_key", settings.auth.signing_key)
    platform = _signing_key("auth.platform_signing_key", settings.auth.platform_signing_key)
    return Keys(
        gateway or platform or local,
        platform or gateway or local,
        local,
        first,
        () if former is None else (former,),
    )


def _signing_key(name: str, pem: SecretStr) -> SigningKey | None:
    text = pem.get_secret_value()
    if not text.strip():
        return None
    try:
        return SigningKey.from_pem(text)
    except UnusableKey as error:
        raise SettingsError(f"{name}: {error}") from error
