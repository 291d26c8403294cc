"""`/oauth/token` and its kin: what clients send themselves, without a browser.

Source: instance contract, section 1.19; RFC 6749, section 5; RFC 7009; RFC 8628.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.errors import Failure, FieldError, Invalid, Rejected
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.exchange import exchange_of
from isthmus.edge.http.instance._answer import address, answer
from isthmus.edge.http.instance._params import reader
from isthmus.edge.http.instance.device import PATH as DEVICE_PATH
from isthmus.edge.http.membership import instance_of
from isthmus.edge.http.refusals import instance as instance_words
from isthmus.edge.services import Services
from isthmus.instance.oauth import (
    ACCESS_TTL_S,
    DEVICE_GRANT,
    DEVICE_TTL_S,
    POLL_S,
    Fault,
    Issued,
    OAuth,
)

Form: TypeAlias = Mapping[str, str]


class TokenBody(msgspec.Struct, frozen=True):
    """A request for tokens, or about one; which fields count depends on the kind of grant."""

    grant_type: str = ""
    client_id: str = ""
    code: str = ""
    redirect_uri: str = ""
    code_verifier: str = ""
    refresh_token: str = ""
    device_code: str = ""
    scope: str = ""
    token: str = ""


class TokensReply(msgspec.Struct, frozen=True):
    """An access token, and the token that renews it."""

    access_token: str
    refresh_token: str
    scope: str
    created_at: int
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - it says how the token is sent
    expires_in: int = ACCESS_TTL_S


class DeviceReply(msgspec.Struct, frozen=True):
    """What a device shows to its user, and what it asks again with."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: int
    interval: int


_read = reader(TokenBody)
_GRANTS: Mapping[str, Callable[[OAuth, Form], Awaitable[Issued | Fault]]] = {
    "authorization_code": OAuth.exchange,
    "refresh_token": OAuth.refresh,
    DEVICE_GRANT: OAuth.poll,
}


async def _token(request: Request) -> Response:
    form = await _form(request)
    grant = _GRANTS.get(form["grant_type"])
    if grant is None:
        return _faulty(Fault("unsupported_grant_type", "Tokens are not given for this."))
    if not form["client_id"]:
        return _faulty(Fault("invalid_client", "The client does not say who it is.", 401))
    issued = await grant(instance_of(request).oauth, form)
    if isinstance(issued, Fault):
        return _faulty(issued)
    return answer(
        TokensReply(
            access_token=issued.access,
            refresh_token=issued.refresh,
            scope=" ".join(sorted(issued.scopes)),
            created_at=issued.created_s,
        )
    )


async def _device(request: Request) -> Response:
    form, instance = await _form(request), instance_of(request)
    device = await instance.oauth.begin_device(form["client_id"], form["scope"])
    if isinstance(device, Fault):
        return _faulty(device)
    where = address(request, instance.settings.external_url) + DEVICE_PATH
    return answer(DeviceReply(device.code, device.user_code, where, DEVICE_TTL_S, POLL_S))


async def _revoke(request: Request) -> Response:
    await instance_of(request).oauth.revoke(await _form(request))
    return answer({})


async def _form(request: Request) -> dict[str, str]:
    """The body's fields; from now on failures are told in the protocol's words."""
    exchange_of(request.scope).refuse = _words
    # Secrets do not come in an address, and its record must not hold what came there anyhow.
    request.scope["query_string"] = b""
    return msgspec.structs.asdict(await _read(request))


def _faulty(fault: Fault) -> Response:
    told = {"error": fault.error, "error_description": fault.description}
    return answer(told, fault.status)


def _words(failure: Failure) -> Response | None:
    match failure:
        case Invalid(fields=(FieldError(field=field, reason=reason), *_)) if field:
            return _faulty(Fault("invalid_request", f"{field} {reason}"))
        case Invalid() | Rejected():
            return _faulty(Fault("invalid_request", failure.detail))
        case _:
            return instance_words(failure)


def routes(_: Services) -> list[Endpoint]:
    """What clients send themselves."""
    told = (
        ("/oauth/token", _token, "Exchange a code, a refresh token or a device.", TokensReply),
        ("/oauth/authorize_device", _device, "Begin to let a device in.", DeviceReply),
        ("/oauth/revoke", _revoke, "Revoke a token of this client's.", None),
    )
    return [
        Endpoint("POST", path, handle, summary, TokenBody, reply, scopes="anybody")
        for path, handle, summary, reply in told
    ]
