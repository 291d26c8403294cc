"""Signs calls to AWS: with a key, with what a role gives for a while, or with a caller's API key.

Source: AWS STS API reference, "AssumeRole".
"""

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from isthmus.adapters.providers._spec import Headers
from isthmus.adapters.providers.signing.sigv4 import Credentials, Scope, sign
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Failure, MisconfiguredProvider, UpstreamFailed
from isthmus.core.messages import OutboundRequest
from isthmus.core.ports import Clock, Outbound

AHEAD = timedelta(minutes=5)
"""Temporary credentials are renewed so long before they end, or half way when they are short."""

AGAIN = timedelta(seconds=30)
"""Pause after a renewal that failed while what is held still counts."""

DURATION_S = 3600
ANSWER_LIMIT_BYTES = 64 * 1024
_JSON = (("content-type", "application/json"),)
_FORM = (("content-type", "application/x-www-form-urlencoded"),)
_FIELDS = tuple(
    re.compile(rf"<{name}>\s*([A-Za-z0-9+/=:._-]{{1,8192}})\s*</{name}>".encode())
    for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
)


@dataclass(frozen=True, slots=True)
class _Held:
    credentials: Credentials
    renew_at: datetime
    ends_at: datetime


class Role:
    """The temporary credentials of a role; one renewal at a time."""

    def __init__(
        self, arn: str, sts_url: str, own: Credentials, region: str, outbound: Outbound
    ) -> None:
        query = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": arn,
            "RoleSessionName": "isthmus",
            "DurationSeconds": DURATION_S,
        }
        self._request = OutboundRequest("POST", f"{sts_url}/", _FORM, urlencode(query).encode())
        self._own = own
        self._scope = Scope(region, "sts")
        self._outbound = outbound
        self._lock = asyncio.Lock()
        self._held: _Held | None = None

    def stale(self, now: datetime) -> bool:
        """Whether `renew` must be awaited; not while another call renews what still counts."""
        held = self._held
        if held is None or now >= held.ends_at:
            return True
        return now >= held.renew_at and not self._lock.locked()

    @property
    def credentials(self) -> Credentials:
        """What is held. Raises MisconfiguredProvider when nothing is."""
        if self._held is None:
            raise MisconfiguredProvider("The AWS role has not been assumed.")
        return self._held.credentials

    async def renew(self, deadline: Deadline, now: datetime) -> None:
        """Assume the role. A failure counts only when nothing usable is held."""
        async with self._lock:
            held = self._held
            if held is not None and now < held.renew_at:
                return
            try:
                self._held = await self._assumed(deadline, now)
            except Failure:
                if held is None or now >= held.ends_at:
                    raise
                self._held = _Held(held.credentials, now + AGAIN, held.ends_at)

    async def _assumed(self, deadline: Deadline, now: datetime) -> _Held:
        signed = sign(self._request, self._own, self._scope, now)
        request = OutboundRequest("POST", self._request.url, (*_FORM, *signed), self._request.body)
        async with self._outbound.open(request, deadline) as reply:
            body = await reply.read(ANSWER_LIMIT_BYTES)
            if 400 <= reply.status < 500 and reply.status != 429:
                raise MisconfiguredProvider(f"The AWS role was refused ({reply.status}).")
            if reply.status != 200:
                raise UpstreamFailed(
                    f"AWS STS answered with an error ({reply.status}).", status=reply.status
                )
        return _read(body, now)


class AwsSigner:
    """Signs with what `source` holds. Implements `Signer`."""

    def __init__(self, source: Credentials | Role, region: str, clock: Clock) -> None:
        self._source = source
        self._scope = Scope(region, "bedrock")
        self._clock = clock

    @property
    def stale(self) -> bool:
        """Whether a role must be assumed first."""
        return isinstance(self._source, Role) and self._source.stale(self._clock.utc())

    async def renew(self, deadline: Deadline) -> None:
        """Assume the role. Raises UpstreamFailed, UpstreamTimeout or MisconfiguredProvider."""
        if isinstance(self._source, Role):
            await self._source.renew(deadline, self._clock.utc())

    def headers(self, method: str, url: str, body: bytes, api_key: str) -> Headers:
        """The signature's headers, or a caller's own Bedrock API key."""
        if api_key:
            return (("authorization", f"Bearer {api_key}"),)
        held = self._source.credentials if isinstance(self._source, Role) else self._source
        # The one header that such requests have and that must be signed.
        request = OutboundRequest(method, url, _JSON, body)
        return sign(request, held, self._scope, self._clock.utc())


def _read(body: bytes, now: datetime) -> _Held:
    """The answer's four fields, each there once; an XML parser would open a door for no gain."""
    found = [field.findall(body) for field in _FIELDS]
    if any(len(values) != 1 for values in found):
        raise UpstreamFailed("AWS STS sent something that cannot be read.")
    key, secret, token, ends = (values[0].decode("ascii") for values in found)
    try:
        ends_at = datetime.fromisoformat(ends).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UpstreamFailed("AWS STS sent something that cannot be read.") from error
    ahead = min(AHEAD, max(timedelta(0), ends_at - now) / 2)
    return _Held(Credentials(key, secret, token), ends_at - ahead, ends_at)
