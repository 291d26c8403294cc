"""Amazon Bedrock: the Converse API."""

import re
from collections.abc import Mapping

from isthmus.adapters.providers._http import HttpProvider, Tries
from isthmus.adapters.providers._spec import ProviderFactory, ProviderSpec, Signer
from isthmus.adapters.providers.dialects.converse import ConverseDialect
from isthmus.adapters.providers.framing.eventstream import EventStreamParser
from isthmus.adapters.providers.signing.api_key import ApiKey
from isthmus.adapters.providers.signing.aws import AwsSigner, Role
from isthmus.adapters.providers.signing.sigv4 import Credentials
from isthmus.core.ports import Clock, Outbound
from isthmus.settings import (
    BedrockSettings,
    OutboundSettings,
    ProvidersSettings,
    SettingsError,
)

_GUARDRAIL = {
    "guardrailIdentifier": re.compile(
        r"[a-z0-9]{1,2048}|"
        r"arn:aws(-[^:]{1,20})?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]{1,1900}"
    ),
    "guardrailVersion": re.compile(r"|[1-9][0-9]{0,7}|DRAFT"),
    "trace": re.compile("enabled|disabled"),
}


def build(
    settings: ProvidersSettings, outbound: Outbound, clock: Clock, limits: OutboundSettings
) -> HttpProvider:
    """The provider; configured by an API key, an access key, or a base URL of the operator's."""
    own = settings.bedrock
    domain = "amazonaws.com.cn" if own.region.startswith("cn-") else "amazonaws.com"
    given = own.base_url.rstrip("/")
    spec = ProviderSpec(
        name="bedrock",
        base_url=given or f"https://bedrock-runtime.{own.region}.{domain}",
        dialect=ConverseDialect(_guardrail(own.guardrail)),
        framing=EventStreamParser,
        signer=_signer(own, domain, outbound, clock),
        forward_paths=frozenset(),
        forward_headers=frozenset(),
        configured=bool(own.bearer_token.get_secret_value() or _credentials(own) or given),
        drain_s=own.drain_s,
    )
    return HttpProvider(spec, outbound, clock, Tries(limits.retries))


def _signer(own: BedrockSettings, domain: str, outbound: Outbound, clock: Clock) -> Signer:
    credentials = _credentials(own)
    if own.role_arn and credentials is None:
        raise SettingsError("providers.bedrock.role_arn: needs `access_key_id` and its secret")
    if own.bearer_token.get_secret_value() or credentials is None:
        return ApiKey(own.bearer_token, "authorization", "Bearer ")
    if not own.role_arn:
        return AwsSigner(credentials, own.region, clock)
    sts_url = own.sts_url.rstrip("/") or f"https://sts.{own.region}.{domain}"
    role = Role(own.role_arn, sts_url, credentials, own.region, outbound)
    return AwsSigner(role, own.region, clock)


def _credentials(own: BedrockSettings) -> Credentials | None:
    key, secret = own.access_key_id.get_secret_value(), own.secret_access_key.get_secret_value()
    return (
        Credentials(key, secret, own.session_token.get_secret_value()) if key and secret else None
    )


def _guardrail(given: Mapping[str, object]) -> dict[str, object]:
    """The guardrail of every call, or nothing. Raises SettingsError.

    Source: HTTP gateway contract, section 1.3.
    """
    if not given:
        return {}
    whole: dict[str, object] = {"guardrailVersion": "", "trace": "disabled", **given}
    for name, value in whole.items():
        pattern = _GUARDRAIL.get(name)
        if pattern is None or not isinstance(value, str) or not pattern.fullmatch(value):
            raise SettingsError(f"providers.bedrock.guardrail: holds no valid `{name}`")
    if "guardrailIdentifier" not in whole:
        raise SettingsError("providers.bedrock.guardrail: needs a `guardrailIdentifier`")
    return {name: value for name, value in whole.items() if value}


PROVIDER = ProviderFactory(build)
