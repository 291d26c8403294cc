"""Grants short-lived user tokens to instances that are trusted to name their users."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

from isthmus.auth.issue import (
    FAILED,
    USER_TOKEN_TTL_S,
    SigningKey,
    Stamp,
    platform_claims,
    signing_kid,
    user_claims,
)
from isthmus.auth.scopes import DIRECT_CONNECTION, require, session_scopes
from isthmus.core.errors import CannotSign, FieldError, Invalid
from isthmus.core.events import FeatureUsed
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import Use
from isthmus.core.ports import Clock, Quota, Telemetry

_USE = Use("code_completions", "code_suggestions")


@dataclass(frozen=True, slots=True)
class Signer:
    """A service that issues tokens under its own name; without a key it cannot."""

    service_name: str
    key: SigningKey | None


@dataclass(frozen=True, slots=True)
class Granted:
    """A compact JWS and the second (since the epoch) at which it expires."""

    token: str
    expires_at: int


class Grant:
    """Exchanges a caller's token for one that names a user, for one hour."""

    def __init__(
        self,
        gateway: Signer,
        platform: Signer,
        clock: Clock,
        telemetry: Telemetry,
        quota: Quota | None = None,
        new_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self._gateway = gateway
        self._platform = platform
        self._clock = clock
        self._telemetry = telemetry
        self._quota = quota
        self._new_id = new_id

    async def user_token(self, caller: Caller, client: ClientInfo) -> Granted:
        """A token for direct connections to the gateway.

        Raises Invalid when no user is named, what the quota raises, Forbidden, CannotSign.
        """
        _require_user(caller)
        if self._quota is not None:
            await self._quota.check(_USE, caller, client)
        detail = "Unauthorized to create user access token"
        require(caller, DIRECT_CONNECTION, detail, self_issued=False)
        self._telemetry.emit(FeatureUsed("complete_code", caller, client))
        stamp = self._stamp()
        claims = user_claims(caller, client, self._gateway.service_name, stamp)
        # The contract's gateway tokens carry no key id; those of the platform do.
        return _sign(self._gateway, claims, stamp, kid=None)

    def platform_token(
        self, caller: Caller, client: ClientInfo, workflow_definition: str
    ) -> Granted:
        """A token for sessions of the agent platform. Raises as `user_token` does."""
        scopes = session_scopes(workflow_definition)
        require(caller, scopes, "Unauthorized to generate token", self_issued=False)
        _require_user(caller)
        stamp = self._stamp()
        claims = platform_claims(caller, client, self._platform.service_name, stamp)
        return _sign(self._platform, claims, stamp, kid=signing_kid(self._platform.service_name))

    def _stamp(self) -> Stamp:
        return Stamp(now_s=int(self._clock.utc().timestamp()), token_id=self._new_id())


def _require_user(caller: Caller) -> None:
    if not (caller.global_user_id or caller.debug):
        fault = FieldError("header.X-Gitlab-Global-User-Id", "Field required")
        raise Invalid("Validation error", (fault,))


def _sign(
    signer: Signer, claims: Mapping[str, object], stamp: Stamp, *, kid: str | None
) -> Granted:
    if signer.key is None:
        raise CannotSign(FAILED)
    return Granted(signer.key.sign(claims, kid), stamp.now_s + USER_TOKEN_TTL_S)
