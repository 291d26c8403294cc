"""`/api/v4/code_suggestions/*`: how an editor reaches the gateway by itself, or through us.

Source: instance contract, section 1.17.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.accounts import Member
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._answer import address, answer
from isthmus.edge.http.instance._params import reader
from isthmus.edge.http.membership import instance_of, member_of
from isthmus.edge.services import Services
from isthmus.instance.accounts import require
from isthmus.instance.broker import ENABLEMENT

PREFIX = "/api/v4/code_suggestions"
SCOPES = ("api", "ai_features")


class DirectConnection(msgspec.Struct, frozen=True):
    """Where to complete code, the token for it, and the headers that go with the token."""

    base_url: str
    token: str
    expires_at: int
    headers: dict[str, str]


class ConnectionDetails(msgspec.Struct, frozen=True):
    """Who instance and user are."""

    instance_id: str
    instance_version: str
    realm: str
    global_user_id: str
    host_name: str
    feature_enablement_type: str
    saas_duo_pro_namespace_ids: str


class EnabledBody(msgspec.Struct, frozen=True):
    """A project by its full path."""

    project_path: str


_read_enabled = reader(EnabledBody)


async def _direct_access(request: Request) -> Response:
    member, instance = _allowed(request), instance_of(request)
    access = await instance.broker.suggestions(member)
    settings = instance.settings
    url = address(request, settings.gateway_url, settings.external_url)
    headers = dict(access.headers)
    return answer(DirectConnection(url, access.token, access.expires_at, headers), 201)


async def _enabled(request: Request) -> Response:
    member = _allowed(request)
    body = await _read_enabled(request)
    await instance_of(request).places.project(member, body.project_path)
    return answer({})


async def _details(request: Request) -> Response:
    member, us = _allowed(request), instance_of(request).broker.identity
    details = ConnectionDetails(
        instance_id=us.instance_id,
        instance_version=us.version,
        realm=us.realm,
        global_user_id=member.user.global_id,
        host_name=us.host_name,
        feature_enablement_type=ENABLEMENT,
        saas_duo_pro_namespace_ids="",
    )
    return answer(details, 201)


def _allowed(request: Request) -> Member:
    member = member_of(request)
    require(member, *SCOPES)
    return member


def routes(_: Services) -> list[Endpoint]:
    """The routes below `/code_suggestions`."""
    told = (
        ("direct_access", _direct_access, "Hand out a token for direct connections.", None),
        ("enabled", _enabled, "Say whether a project may have suggestions.", EnabledBody),
        ("connection_details", _details, "Say who instance and user are.", None),
    )
    replies = {"direct_access": DirectConnection, "connection_details": ConnectionDetails}
    return [
        Endpoint(
            method="POST",
            path=f"{PREFIX}/{name}",
            handle=handle,
            summary=summary,
            body=body,
            reply=replies.get(name),
            scopes="`api` or `ai_features`",
            status=201 if name in replies else 200,
        )
        for name, handle, summary, body in told
    ]
