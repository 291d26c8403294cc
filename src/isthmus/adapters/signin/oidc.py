"""A team's identity provider, by OpenID Connect: discovery, the code flow with PKCE, its tokens.

Source: OpenID Connect Discovery 1.0; OpenID Connect Core 1.0, sections 3.1.2 and 3.1.3.
"""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import quote_plus, urlencode, urlsplit

from isthmus.auth.strict import Malformed, decode_object, encode_base64url
from isthmus.auth.verify import claims_of, parse, signed_by
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Failure, Unauthenticated, Unavailable
from isthmus.core.messages import OutboundRequest
from isthmus.core.ports import Clock, KeySet, Outbound
from isthmus.core.signin import Person, Visit
from isthmus.settings import OidcSettings

ANSWER_LIMIT_BYTES: Final = 256 * 1024
CODE_LIMIT_CHARS: Final = 4_096
CALL_S: Final = 10.0
KEPT_S: Final = 3_600.0
"""How long the provider's description of itself is used before it is read again."""
_DOWN: Final = "The identity provider cannot be reached. Try again later."
_NOT_YOU: Final = "The identity provider did not say who you are."


class OidcProvider:
    """The IdentityProvider port. `keys` are the provider's own, and nobody else's."""

    def __init__(
        self, settings: OidcSettings, outbound: Outbound, keys: KeySet, clock: Clock
    ) -> None:
        self._settings = settings
        self._issuer = settings.issuer.strip().rstrip("/")
        self._outbound = outbound
        self._keys = keys
        self._clock = clock
        self._described: Mapping[str, object] = {}
        self._described_at_s = float("-inf")

    @property
    def name(self) -> str:
        """The provider's host."""
        return urlsplit(self._issuer).hostname or self._issuer

    async def address(self, visit: Visit) -> str:
        """Where to send the browser. Raises Unavailable."""
        challenge = encode_base64url(sha256(visit.verifier.encode()).digest())
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": visit.callback,
            "scope": " ".join(self._settings.scopes),
            "state": visit.state,
            "nonce": visit.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        there = await self._endpoint("authorization_endpoint")
        return f"{there}{'&' if '?' in there else '?'}{urlencode(query)}"

    async def person(self, code: str, visit: Visit) -> Person:
        """Who came back with this code. Raises Unauthenticated, Unavailable."""
        if not code or len(code) > CODE_LIMIT_CHARS:
            raise Unauthenticated(_NOT_YOU)
        answer = await self._exchange(code, visit)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Unauthenticated(_NOT_YOU)
        return await self._verified(token, visit.nonce)

    async def _exchange(self, code: str, visit: Visit) -> Mapping[str, object]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": visit.callback,
            "code_verifier": visit.verifier,
            "client_id": self._settings.client_id,
        }
        headers = [("content-type", "application/x-www-form-urlencoded")]
        secret = self._settings.client_secret.get_secret_value()
        if secret:
            # RFC 6749, section 2.3.1: form-encoded first, each half by itself.
            pair = f"{quote_plus(self._settings.client_id)}:{quote_plus(secret)}"
            headers.append(("authorization", f"Basic {_base64(pair)}"))
        there = await self._endpoint("token_endpoint")
        request = OutboundRequest("POST", there, tuple(headers), urlencode(form).encode())
        status, answer = await self._call(request)
        if status != 200:
            raise Unauthenticated(_NOT_YOU)
        return answer

    async def _verified(self, text: str, nonce: str) -> Person:
        """What a token says, when it was made by this provider, for us, and for this trip."""
        token = parse(text)
        client_id = self._settings.client_id
        claims = claims_of(token, client_id, self._clock.utc().timestamp())
        said = claims.extra
        ours = (
            claims.issuer.rstrip("/") == self._issuer
            and said.get("nonce") == nonce
            and said.get("azp", client_id) == client_id
            and bool(claims.subject)
            and claims.expires_s != float("inf")
        )
        if not ours or not signed_by(token, await self._keys.keys(token.kid)):
            raise Unauthenticated(_NOT_YOU)
        return Person(
            subject=f"{self._issuer} {claims.subject}",
            username=_text(said, "preferred_username"),
            name=_text(said, "name"),
            email=_text(said, "email"),
        )

    async def _endpoint(self, name: str) -> str:
        """An address from the provider's description; https where the issuer is."""
        if self._clock.now_s() - self._described_at_s > KEPT_S:
            url = f"{self._issuer}/.well-known/openid-configuration"
            status, described = await self._call(OutboundRequest("GET", url))
            if status != 200 or str(described.get("issuer")).rstrip("/") != self._issuer:
                raise Unavailable(_DOWN)
            self._described, self._described_at_s = described, self._clock.now_s()
        value = self._described.get(name)
        schemes = ("https",) if self._issuer.startswith("https:") else ("https", "http")
        if not isinstance(value, str) or urlsplit(value).scheme not in schemes:
            raise Unavailable(_DOWN)
        return value

    async def _call(self, request: OutboundRequest) -> tuple[int, Mapping[str, object]]:
        """Status and JSON object. Raises Unavailable."""
        now_s = self._clock.now_s()
        deadline = Deadline(now_s + CALL_S, CALL_S, CALL_S, CALL_S)
        headers = (("accept", "application/json"), ("accept-encoding", "identity"))
        asked = OutboundRequest(
            request.method, request.url, headers + request.headers, request.body
        )
        try:
            async with self._outbound.open(asked, deadline) as reply:
                body = await reply.read(ANSWER_LIMIT_BYTES)
                return reply.status, decode_object(body) if reply.status == 200 else {}
        except (Failure, Malformed):
            # What went wrong there may quote what we sent: the code, or our secret.
            raise Unavailable(_DOWN) from None


def _text(said: Mapping[str, object], name: str) -> str:
    value = said.get(name)
    return value[:255] if isinstance(value, str) else ""


def _base64(pair: str) -> str:
    return b64encode(pair.encode()).decode("ascii")
