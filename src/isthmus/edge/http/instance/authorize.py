"""`/oauth/authorize`: a client sends a browser here for a code; its user agrees, or does not.

Source: instance contract, section 5.4; RFC 6749, section 4.1; RFC 9700.
"""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from isthmus.core.accounts import User
from isthmus.core.errors import Rejected
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._page import button, facts, page, text
from isthmus.edge.http.instance._visitor import Visitor, visitor_of
from isthmus.edge.http.membership import instance_of
from isthmus.edge.services import Services
from isthmus.instance.oauth import Ask, Fault, asked

PATH = "/oauth/authorize"
_UNCACHED = {"cache-control": "no-store", "referrer-policy": "no-referrer"}


async def _show(request: Request) -> Response:
    visitor = await visitor_of(request)
    ask = _ask(request)
    if ask.fault is not None:
        return _refused(ask, ask.fault)
    if visitor.member is None:
        return visitor.sign_in_page()
    return _consent(visitor, visitor.member.user, ask)


async def _answer(request: Request) -> Response:
    visitor = await visitor_of(request)
    ask = _ask(request)
    fields = await visitor.sent()
    if visitor.member is None:
        return await visitor.sign_in(fields)
    if ask.fault is not None:
        return _refused(ask, ask.fault)
    match fields.get("decision"):
        case "allow":
            code = await instance_of(request).oauth.code(visitor.member.user, ask)
            return RedirectResponse(ask.back.to(code=code), 303, _UNCACHED)
        case "deny":
            return _refused(ask, Fault("access_denied", "The user does not want it."))
        case "leave":
            return await visitor.leave()
        case _:
            return _consent(visitor, visitor.member.user, ask)


def _ask(request: Request) -> Ask:
    """What the client asks for. Raises Rejected where it must not be sent back."""
    query = request.query_params
    if len(set(query)) != len(query.multi_items()):
        raise Rejected("A parameter stands twice.")
    ask = asked(dict(query), instance_of(request).settings.oauth_redirects)
    if isinstance(ask, Fault):
        raise Rejected(ask.description)
    return ask


def _refused(ask: Ask, fault: Fault) -> Response:
    there = ask.back.to(error=fault.error, error_description=fault.description)
    return RedirectResponse(there, 303, _UNCACHED)


def _consent(visitor: Visitor, user: User, ask: Ask) -> Response:
    told = facts(
        (
            ("Client", ask.client_id),
            ("Sends you to", ask.back.origin),
            ("May use", " ".join(sorted(ask.scopes))),
            ("As", user.username),
        )
    )
    warning = text("Nobody has checked this client. Go on only if you have just started it.")
    choice = visitor.form(
        button("Allow", "decision", "allow"),
        button("Deny", "decision", "deny"),
        button("Sign in as somebody else", "decision", "leave"),
    )
    return page("Let a client in?", told, warning, choice, goes_to=ask.back.origin)


def routes(_: Services) -> list[Endpoint]:
    """The page, and what its form sends."""
    summary = "Ask a user whether a client may act as them."
    return [
        Endpoint(method, PATH, handle, summary, scopes="anybody; a user signs in")
        for method, handle in (("GET", _show), ("POST", _answer))
    ]
