"""The HTTP side: Foundation -> Services."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isthmus.adapters.keysets.jwks import Fetching, discovery_url
from isthmus.adapters.keysets.keyfile import LOCAL_KID
from isthmus.adapters.keysets.merged import MergedKeys, gateway_issuers, open_keys
from isthmus.adapters.keysets.static import local_keys
from isthmus.adapters.search.sqlite import SqliteSearch, index_file
from isthmus.app.foundation import Foundation
from isthmus.auth.authenticate import Authenticator, Bound, gateway_policy
from isthmus.auth.bypass import bypasses
from isthmus.auth.issue import DEVELOPMENT_ISSUER, SigningKey, signing_kid
from isthmus.core.ports import KeySet, VerificationKey
from isthmus.edge.services import Readiness, Services
from isthmus.gateway.chat import ReactChat
from isthmus.gateway.converse import Converse
from isthmus.gateway.embed import Embed
from isthmus.gateway.forward import Forward
from isthmus.gateway.invoke import Invoke
from isthmus.gateway.payloads import PayloadPolicy
from isthmus.gateway.search import SearchDocs
from isthmus.gateway.suggest import Library, Rules, Suggest
from isthmus.settings import Settings, SettingsError

if TYPE_CHECKING:  # loaded late
    from isthmus.edge.instance import InstanceDoor


@dataclass(frozen=True, slots=True)
class Accepted:
    """The keys of a listener: of everybody together, and of issuers that have their own."""

    keys: KeySet
    bound: Mapping[str, Bound]


@asynccontextmanager
async def open_gateway(
    foundation: Foundation, instance: "InstanceDoor | None" = None
) -> AsyncIterator[Services]:
    """The use cases of the gateway, on top of the foundation; `instance` is handed on."""
    settings, auth = foundation.settings, foundation.settings.auth
    async with AsyncExitStack() as stack:
        own = _own_keys(foundation)
        issuers = gateway_issuers(auth)
        accepted = await stack.enter_async_context(accepted_keys(foundation, own, issuers))
        told = foundation.telemetry, foundation.clock
        payloads = _payloads(settings)
        invoke = _invoke(foundation, payloads)
        yield Services(
            authenticator=Authenticator(accepted.keys, gateway_policy(auth), *told, accepted.bound),
            grant=foundation.grant,
            suggest=_suggest(foundation, payloads),
            forward=Forward(
                foundation.models, settings.gateway, foundation.telemetry, foundation.quota
            ),
            embed=Embed(foundation.models, foundation.telemetry),
            search=_search(foundation),
            definitions=foundation.models.definitions,
            invoke=invoke,
            chat=ReactChat(invoke, foundation.telemetry),
            converse=Converse(foundation.models, foundation.telemetry, settings.gateway),
            prompt_ids=foundation.prompts.ids(),
            readiness=Readiness({}, foundation.clock, bypasses(auth)),
            telemetry=foundation.telemetry,
            clock=foundation.clock,
            public_keys=own,
            http=settings.http,
            instance=instance,
            instance_settings=settings.instance,
            payloads=payloads,
            barred_flags=settings.gateway.disallowed_flags,
            traces=foundation.traces,
        )


def _own_keys(foundation: Foundation) -> tuple[VerificationKey, ...]:
    auth, keys = foundation.settings.auth, foundation.keys
    validation = auth.validation_key.get_secret_value()
    others = local_keys(auth.service_name, "", validation, foundation.telemetry)
    return public_keys(auth.service_name, keys.gateway, keys.local, (*others, *keys.former))


def _payloads(settings: Settings) -> PayloadPolicy:
    return PayloadPolicy(
        settings.logging.payloads,
        settings.models.custom_enabled,
        settings.gateway.disallowed_flags,
    )


def _suggest(foundation: Foundation, payloads: PayloadPolicy) -> Suggest:
    library = Library(foundation.prompts, foundation.languages)
    rules = Rules(foundation.settings.gateway, foundation.quota, payloads, foundation.limiter)
    try:
        return Suggest(foundation.models, library, foundation.telemetry, foundation.clock, rules)
    except ValueError as error:
        raise SettingsError(f"gateway.skipped_post_processing: {error}") from error


def _invoke(foundation: Foundation, payloads: PayloadPolicy) -> Invoke:
    return Invoke(
        foundation.models,
        foundation.prompts,
        foundation.telemetry,
        foundation.clock,
        foundation.settings.models,
        payloads,
    )


def _search(foundation: Foundation) -> SearchDocs:
    settings = foundation.settings
    index = SqliteSearch(index_file(settings.search, settings.data_dir))
    return SearchDocs(index, foundation.telemetry)


def public_keys(
    service: str, signing: SigningKey, local: SigningKey, others: tuple[VerificationKey, ...]
) -> tuple[VerificationKey, ...]:
    """Every key of our own that a token may be signed with, none twice."""
    named = [signing.public(signing_kid(service)), local.public(LOCAL_KID), *others]
    return tuple({key.n: key for key in reversed(named)}.values())[::-1]


@asynccontextmanager
async def accepted_keys(
    foundation: Foundation, own: tuple[VerificationKey, ...], issuers: tuple[str, ...]
) -> AsyncIterator[Accepted]:
    """Our own keys, those of the issuers, and of the listed instances. Raises SettingsError.

    Tokens of our own are verified with ours at once, whoever else is slow to answer. Where
    instances are listed, each one's tokens are verified with its own keys alone, and tokens of our
    own with ours alone: no instance can speak for another one, or for us.
    """
    auth, instances = foundation.settings.auth, foundation.settings.instances
    async with AsyncExitStack() as stack:
        urls = {one.url for one in instances.values()}
        others = tuple(url for url in issuers if url not in urls)
        keys = await stack.enter_async_context(key_set(foundation, own, others))
        ours = Bound("", MergedKeys(own), alone=bool(instances))
        services = (auth.service_name, auth.platform_service_name, DEVELOPMENT_ISSUER)
        bound = dict.fromkeys(services, ours)
        for name, one in instances.items():
            opened = key_set(foundation, (), (one.url,), f"instances.{name}.url")
            theirs = await stack.enter_async_context(opened)
            bound[one.iss] = Bound(name, theirs, one.realm)
        yield Accepted(keys, bound)


@asynccontextmanager
async def key_set(
    foundation: Foundation,
    own: tuple[VerificationKey, ...],
    issuers: tuple[str, ...],
    setting: str = "auth.issuers",
) -> AsyncIterator[MergedKeys]:
    """Our own keys and those of the issuers. Raises SettingsError for a bad issuer."""
    auth = foundation.settings.auth
    fetching = Fetching(
        foundation.outbound,
        foundation.clock,
        foundation.telemetry,
        auth.keys_max_age_s,
        auth.keys_timeout_s,
    )
    for url in issuers:
        try:
            discovery_url(url)
        except ValueError as error:
            raise SettingsError(f"{setting}: {error}") from error
    async with open_keys(own, issuers, fetching) as keys:
        yield keys
