"""`/oauth/device`: a user types the code that a device without a browser shows.

Source: RFC 8628, section 3.3.
"""

from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.accounts import Token, User
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._page import button, facts, field, hidden, page, text
from isthmus.edge.http.instance._visitor import Visitor, visitor_of
from isthmus.edge.http.membership import instance_of
from isthmus.edge.services import Services

PATH = "/oauth/device"


async def _show(request: Request) -> Response:
    visitor = await visitor_of(request)
    return visitor.sign_in_page() if visitor.member is None else _typed(visitor)


async def _answer(request: Request) -> Response:
    visitor = await visitor_of(request)
    fields = await visitor.sent()
    if visitor.member is None:
        return await visitor.sign_in(fields)
    user, oauth = visitor.member.user, instance_of(request).oauth
    typed = fields.get("user_code", "")
    device = await oauth.waiting(user, typed)
    if device is None:
        return _typed(visitor, "No device waits for this code.")
    decision = fields.get("decision")
    if decision not in {"allow", "deny"}:
        return _consent(visitor, user, device, typed)
    if not await oauth.decide(user, device, allowed=decision == "allow"):
        return _typed(visitor, "Somebody else was faster.")
    done = "The device may go on." if decision == "allow" else "The device was turned away."
    return page("Done", text(done), text("You can close this page."))


def _typed(visitor: Visitor, fault: str = "") -> Response:
    fields = visitor.form(field("user_code", "Code on your device"), button("Go on"))
    parts = (text(fault, fault=True), fields)
    return page("Let a device in", *parts, status=404 if fault else 200)


def _consent(visitor: Visitor, user: User, device: Token, typed: str) -> Response:
    told = facts(
        (
            ("Client", device.client_id),
            ("May use", " ".join(sorted(device.scopes))),
            ("As", user.username),
        )
    )
    choice = visitor.form(
        hidden("user_code", typed),
        button("Allow", "decision", "allow"),
        button("Deny", "decision", "deny"),
    )
    warning = text("Go on only if the code stands on a device of yours.")
    return page("Let a device in?", told, warning, choice)


def routes(_: Services) -> list[Endpoint]:
    """The page, and what its forms send."""
    summary = "Ask a user whether a device may act as them."
    return [
        Endpoint(method, PATH, handle, summary, scopes="anybody; a user signs in")
        for method, handle in (("GET", _show), ("POST", _answer))
    ]
