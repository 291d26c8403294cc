"""Carries out a session's HTTP actions, as the session's own caller and as nobody else.

At our own instance with a token that dies with the session, or at a GitLab instance with the
caller's. Source: instance contract, sections 3.2 and 3.5.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from isthmus.contract.contract_pb2 import HttpResponse, RunHTTPRequest
from isthmus.core.accounts import FLOW_SCOPES, Member, TokenKind
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Failure, Forbidden, Invalid, NotFound, TooLarge, UpstreamTimeout
from isthmus.core.events import ActionRelayed
from isthmus.core.messages import OutboundRequest
from isthmus.core.ports import Clock, Outbound
from isthmus.edge.instance import InstanceServices
from isthmus.edge.relay.address import Target, target_of
from isthmus.edge.relay.gate import Admission
from isthmus.edge.relay.inward import Answer, Header
from isthmus.instance.accounts import Accounts, Wish

BODY_LIMIT_BYTES: Final = 4 * 1024 * 1024 - 4_096
TOKEN_TTL_S: Final = 7_200.0
HURRY_S: Final = 5.0
HURRY_FLAG: Final = "timeout_dap_http_requests_in_workhorse"
AGENT: Final = "Agent-Flow-via-GitLab-Workhorse"
_OF_THE_LINE: Final = frozenset({b"host", b"content-length"})
"""Headers that the HTTP client sets by itself."""


class Asking(Protocol):
    """Where actions go: our own application, or another instance."""

    async def ask(
        self, target: Target, headers: Sequence[Header], body: bytes, limit_bytes: int
    ) -> Answer: ...


class Abroad:
    """Another instance, over the network."""

    def __init__(self, url: str, outbound: Outbound, clock: Clock, limit_s: float) -> None:
        self._url = url.rstrip("/")
        self._outbound = outbound
        self._clock = clock
        self._limit_s = limit_s

    async def ask(
        self, target: Target, headers: Sequence[Header], body: bytes, limit_bytes: int
    ) -> Answer:
        """The answer. Raises TooLarge, UpstreamUnreachable, UpstreamFailed or UpstreamTimeout."""
        request = OutboundRequest(
            target.method,
            self._url + target.whole,
            tuple(
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in headers
                if name not in _OF_THE_LINE
            ),
            body,
        )
        deadline = Deadline(self._clock.now_s() + self._limit_s)
        async with self._outbound.open(request, deadline) as reply:
            pieces = bytearray()
            async for piece in reply.chunks():
                pieces += piece
                if len(pieces) > limit_bytes:
                    detail = f"response body exceeded size limit ({limit_bytes} bytes)"
                    raise TooLarge(detail, limit_bytes)
            return Answer(reply.status, tuple(reply.raw_headers), bytes(pieces))


class Credential:
    """What a session acts with: the caller's token where that is a session's, or one of its own.

    The latter is made when it is first needed, and thrown away with the session.
    """

    def __init__(self, accounts: Accounts, member: Member, presented: str, *, abroad: bool) -> None:
        self._accounts = accounts
        self._member = member
        exact = member.token.scopes == FLOW_SCOPES
        self._text = presented if abroad or exact else ""
        self._abroad = abroad
        self._own = ""

    async def text(self) -> str:
        """The token. Raises Forbidden when the caller presented none that another may see."""
        if self._abroad and not self._text:
            raise Forbidden("A browser's session cannot act on another instance.")
        if not self._text:
            wish = Wish(TokenKind.FLOW, FLOW_SCOPES, TOKEN_TTL_S, name="session")
            self._own = self._text = (await self._accounts.mint(self._member.user, wish)).text
        return self._text

    async def close(self) -> None:
        """Revoke the token that was made."""
        if self._own:
            await self._accounts.revoke_flow(self._member, self._own)
            self._own = self._text = ""


class Acting:
    """What acts for the sessions of one client."""

    def __init__(self, instance: InstanceServices, asking: Asking, admission: Admission) -> None:
        self._instance = instance
        self._asking = asking
        self._admission = admission

    @asynccontextmanager
    async def opened(self, workflow_id: str) -> "AsyncIterator[Actions]":
        """One session's actions. What they act with lets nobody in any more when they end."""
        instance, admission = self._instance, self._admission
        hurry = await instance.flags.on(HURRY_FLAG, admission.place, admission.member.user)
        limit_s = instance.settings.relay.action_s
        errand = Errand(workflow_id, admission, min(limit_s, HURRY_S) if hurry else limit_s)
        abroad = bool(instance.settings.gitlab_url)
        credential = Credential(instance.accounts, admission.member, admission.token, abroad=abroad)
        try:
            yield Actions(instance, self._asking, credential, errand)
        finally:
            # A store that is down does not change how the session ended; the token expires.
            with suppress(Failure):
                await credential.close()


@dataclass(frozen=True, slots=True)
class Errand:
    """Whose session it is, and how long one action may take."""

    workflow_id: str
    admission: Admission
    limit_s: float


class Actions:
    """HTTP actions of one session, one after the other."""

    def __init__(
        self, instance: InstanceServices, asking: Asking, credential: Credential, errand: Errand
    ) -> None:
        self._instance = instance
        self._asking = asking
        self._credential = credential
        self._errand = errand

    async def run(self, request: RunHTTPRequest) -> HttpResponse:
        """The answer; an error status is one, too. Raises Invalid when it is no request at all."""
        began_s = self._instance.clock.now_s()
        error, answer = "", HttpResponse()
        try:
            answer = await self._asked(request)
        except Invalid:
            raise
        except NotFound as failure:
            answer = _refused(404, failure.detail)
        except TooLarge as failure:
            error, answer = "size_limit_exceeded", HttpResponse(error=failure.detail)
        except (TimeoutError, UpstreamTimeout):
            error, answer = "timeout", HttpResponse(error="request timed out")
        except Forbidden:
            answer = _refused(403, "403 Forbidden")
        except Failure as failure:
            error, answer = "other", HttpResponse(error=f"request failed: {failure.detail}")
        spent_s = self._instance.clock.now_s() - began_s
        method = request.method.upper()
        fact = ActionRelayed(self._errand.workflow_id, method, answer.statusCode, error, spent_s)
        self._instance.telemetry.emit(fact)
        return answer

    async def _asked(self, request: RunHTTPRequest) -> HttpResponse:
        target = target_of(request.method, request.path)
        body = request.body.encode("utf-8")
        headers = self._headers(await self._credential.text(), body)
        async with asyncio.timeout(self._errand.limit_s):
            answer = await self._asking.ask(target, headers, body, BODY_LIMIT_BYTES)
        return HttpResponse(
            statusCode=answer.status,
            headers=_canonical(answer.headers),
            body=answer.body.decode("utf-8", "replace"),
        )

    def _headers(self, token: str, body: bytes) -> list[Header]:
        knock = self._errand.admission.knock
        before = knock.headers.get("x-forwarded-for", "")
        chain = [before] if before.endswith(knock.peer) else [before, knock.peer]
        named = {
            "host": knock.headers.get("host", "localhost"),
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "user-agent": AGENT,
            "x-gitlab-duo-workflow-id": self._errand.workflow_id,
            "x-forwarded-for": ", ".join(filter(None, chain)),
            "content-length": str(len(body)),
        }
        return [(name.encode(), value.encode("latin-1")) for name, value in named.items() if value]


def _refused(status: int, message: str) -> HttpResponse:
    """What our instance would say of a path that it does not have."""
    headers = {"Content-Type": "application/json"}
    return HttpResponse(statusCode=status, headers=headers, body=f'{{"message":"{message}"}}')


def _canonical(headers: Sequence[Header]) -> dict[str, str]:
    """Names as `X-Next-Page`, values of repeated ones joined: readers look for exactly those."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").title(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
