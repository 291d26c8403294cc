"""`/oauth/oidc`: a browser's trip to the identity provider of a team, and back.

What has to be remembered meanwhile is in a cookie of that browser: nobody else can end its trip.
Source: OpenID Connect Core 1.0, section 3.1; RFC 7636.
"""

import hmac
import re
import secrets

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from isthmus.auth.strict import Malformed, decode_base64url, encode_base64url
from isthmus.core.errors import NotFound, Rejected, Unauthenticated
from isthmus.core.signin import Visit
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._answer import address
from isthmus.edge.http.instance._visitor import visitor_of
from isthmus.edge.http.membership import cookie, headers_of, instance_of
from isthmus.edge.services import Services

PATH = "/oauth/oidc"
_TRIP = "isthmus_trip"
_TRIP_S = 600
# Where a trip may end: the pages that asked for it, and nothing that a browser reads as a host.
_NEXT = re.compile(r"/oauth/(?:authorize|device)(?:\?[\x21\x23-\x5b\x5d-\x7e]{0,6000})?")


class Trip(msgspec.Struct, frozen=True):
    """What the browser keeps until it is back."""

    state: str
    nonce: str
    verifier: str
    next: str


async def _leave(request: Request) -> Response:
    visitor = await visitor_of(request)
    provider = instance_of(request).sign_in.provider
    if provider is None:
        raise NotFound("Accounts are local here.")
    there = request.query_params.get("next", "")
    if not _NEXT.fullmatch(there):
        raise Rejected("This is no page of ours.")
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    where = await provider.address(Visit(_callback(request), state, nonce, verifier))
    response = RedirectResponse(where, 303, {"cache-control": "no-store"})
    trip = encode_base64url(msgspec.json.encode(Trip(state, nonce, verifier, there)))
    visitor.keep(response, _TRIP, trip, _TRIP_S)
    return response


async def _return(request: Request) -> Response:
    visitor = await visitor_of(request)
    query = dict(request.query_params)
    # The record of this request must not hold the code.
    request.scope["query_string"] = b""
    trip = _trip(request)
    if not hmac.compare_digest(query.get("state", "").encode(), trip.state.encode()):
        raise Unauthenticated("This sign-in was not begun in this browser. Begin again.")
    if "code" not in query:
        raise Unauthenticated("The identity provider did not let you in.")
    visit = Visit(_callback(request), trip.state, trip.nonce, trip.verifier)
    user = await instance_of(request).sign_in.by_provider(query["code"], visit)
    response = await visitor.let_in(user, trip.next)
    visitor.keep(response, _TRIP, "", 0)
    return response


def _callback(request: Request) -> str:
    return address(request, instance_of(request).settings.external_url) + f"{PATH}/callback"


def _trip(request: Request) -> Trip:
    try:
        raw = decode_base64url(cookie(headers_of(request.scope), _TRIP))
        trip = msgspec.json.decode(raw, type=Trip)
    except (Malformed, msgspec.DecodeError):
        raise Unauthenticated("This sign-in took too long. Begin again.") from None
    if not _NEXT.fullmatch(trip.next):
        raise Rejected("This is no page of ours.")
    return trip


def routes(_: Services) -> list[Endpoint]:
    """The way there, and the way back."""
    told = (
        (PATH, _leave, "Send a browser to the identity provider."),
        (f"{PATH}/callback", _return, "Take a browser back from the identity provider."),
    )
    return [
        Endpoint("GET", path, handle, summary, scopes="anybody") for path, handle, summary in told
    ]
