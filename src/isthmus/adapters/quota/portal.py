"""Credits that a customer portal counts: asked for once, remembered, shared by who asks meanwhile.

Source: HTTP gateway contract, section 2.9; agent platform contract, section 3.5.
"""

import asyncio
import random
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import urlencode

from isthmus.core.deadline import Deadline
from isthmus.core.errors import Failure, InsufficientCredits, NotEntitled
from isthmus.core.events import REQUEST_ID, QuotaAsked
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import Use
from isthmus.core.messages import OutboundRequest
from isthmus.core.ports import Clock, Outbound, Telemetry
from isthmus.gateway.asker import describe

PATH = "/api/v1/consumers/resolve"
KNOWN_LIMIT = 10_000
DENIED_TTL_S = 60.0
"""How long a refusal counts that names no time: who buys credits need not wait for an hour."""
TTL_LIMIT_S = 86_400.0

_SAYS = {200: "allow", 402: "deny", 403: "deny"}
_KEY = (
    *("environment", "realm", "user_id", "global_user_id", "root_namespace_id"),
    *("unique_instance_id", "feature_enablement_type"),
)
_ASKED = (
    *(*_KEY, "source", "instance_id", "instance_version", "host_name", "project_id"),
    *("namespace_id", "deployment_type", "correlation_id", "organization_id"),
)
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,9})(?!\d)", re.IGNORECASE)

Fields = Mapping[str, str | int | None]


@dataclass(frozen=True, slots=True)
class Portal:
    """Where it is and how it is asked. `url` has no trailing slash; `token` is never shown."""

    url: str
    user: str
    token: str = field(repr=False)
    timeout_s: float
    ttl_s: float
    environment: str


class Verdict(NamedTuple):
    """What the portal said: allow, deny or error, its status (0: none), and for how long."""

    result: str
    status: int
    ttl_s: float


class PortalQuota:
    """Implements `Quota`. `roll` gives samples of [0, 1), which spread the ends of answers."""

    def __init__(
        self,
        portal: Portal,
        outbound: Outbound,
        clock: Clock,
        telemetry: Telemetry,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self._portal = portal
        self._headers = (("x-admin-email", portal.user), ("x-admin-token", portal.token))
        self._outbound = outbound
        self._clock = clock
        self._telemetry = telemetry
        self._roll = roll
        self._known: OrderedDict[bytes, tuple[float, Verdict]] = OrderedDict()
        self._flights: dict[bytes, asyncio.Future[Verdict]] = {}

    async def check(self, use: Use, caller: Caller, client: ClientInfo) -> None:
        """Raises InsufficientCredits or NotEntitled; an answer that is none counts as the latter.

        Callers whose token holds `skip_usage_cutoff` pass unasked.
        """
        if caller.extra.get("skip_usage_cutoff"):
            return
        fields = describe(caller, client, self._portal.environment, REQUEST_ID.get())
        key = _key(fields, use)
        began_s = self._clock.now_s()
        verdict = self._remembered(key, began_s)
        asked = False
        while verdict is None:
            flight = self._flights.get(key)
            asked = flight is None
            verdict = await (self._fly(key, fields, use) if flight is None else _landed(flight))
        took_s = self._clock.now_s() - began_s
        realm = str(fields["realm"] or "unknown")
        self._telemetry.emit(QuotaAsked(verdict.result, realm, asked, verdict.status, took_s))
        if verdict.status == 402:
            raise InsufficientCredits("Consumer does not have sufficient credits for this request")
        if verdict.result != "allow":
            raise NotEntitled("Consumer does not have entitlements to use this feature.")

    def _remembered(self, key: bytes, now_s: float) -> Verdict | None:
        ends_s, verdict = self._known.get(key, (now_s, None))
        return verdict if now_s < ends_s else None

    async def _fly(self, key: bytes, fields: Fields, use: Use) -> Verdict:
        """Ask; whoever wants to know the same meanwhile waits for this answer."""
        flight: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._flights[key] = flight
        try:
            verdict = await self._ask(fields, use)
            flight.set_result(verdict)
        finally:
            del self._flights[key]
            # The caller left: one of those who wait asks instead.
            flight.cancel()
        if verdict.ttl_s > 0.0:
            spread = 0.9 + 0.2 * self._roll()
            self._known[key] = self._clock.now_s() + verdict.ttl_s * spread, verdict
            self._known.move_to_end(key)
            if len(self._known) > KNOWN_LIMIT:
                self._known.popitem(last=False)
        return verdict

    async def _ask(self, fields: Fields, use: Use) -> Verdict:
        portal = self._portal
        query = {name: str(fields[name]) for name in _ASKED if fields[name] is not None}
        query |= {"event_type": use.event_type, "feature_qualified_name": use.feature}
        if use.model_id:
            query["model_id"] = use.model_id
        url = f"{portal.url}{PATH}?{urlencode(query, errors='replace')}"
        limit_s = portal.timeout_s
        deadline = Deadline(self._clock.now_s() + limit_s, limit_s, limit_s, limit_s)
        request = OutboundRequest("HEAD", url, self._headers)
        try:
            async with self._outbound.open(request, deadline) as reply:
                status, headers = reply.status, reply.headers
        except Failure:
            return Verdict("error", 0, 0.0)
        result = _SAYS.get(status, "error")
        return Verdict(result, status, _ttl_s(result, headers, portal.ttl_s))


async def _landed(flight: asyncio.Future[Verdict]) -> Verdict | None:
    """Somebody else's answer; None when they left before it came."""
    await asyncio.wait((flight,))
    return None if flight.cancelled() else flight.result()


def _key(fields: Fields, use: Use) -> bytes:
    told = [*(fields[name] for name in _KEY), use.feature, use.event_type, use.model_id]
    return sha256(repr(told).encode(errors="backslashreplace")).digest()


def _ttl_s(result: str, headers: Sequence[tuple[str, str]], usual_s: float) -> float:
    """How long an answer counts: as `Cache-Control` says; what is no answer is asked for again."""
    if result == "error":
        return 0.0
    told = ", ".join(value for name, value in headers if name == "cache-control")
    match = _MAX_AGE.search(told)
    if match is not None:
        return min(float(match[1]), TTL_LIMIT_S)
    if "no-store" in told.lower():
        return 0.0
    return usual_s if result == "allow" else min(usual_s, DENIED_TTL_S)
