"""Switches that take protection away, and what holds in their place."""

from collections.abc import Sequence

from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject


async def check(case: Case) -> Sequence[Finding]:
    """A finding for each mode that is on; one that says so when none is."""
    settings = case.settings
    auth = settings.auth
    modes = (
        ("auth.bypass_external", auth.bypass_external, "every HTTP call is a debug user"),
        (
            "auth.bypass_external_with_header",
            auth.bypass_external_with_header,
            "whoever sends `Bypass-Auth: true` is a debug user",
        ),
        (
            "auth.bypass_jwt_signature",
            auth.bypass_jwt_signature,
            "signatures of tokens are not checked: anybody can write one",
        ),
        ("auth.enabled", not auth.enabled, "the agent platform authenticates nobody"),
        (
            "outbound.verify",
            not settings.outbound.verify,
            "certificates of other servers are not checked: who is on the way reads our keys",
        ),
        ("models.mock", settings.models.mock, "no model is called: every answer is `mock`"),
    )
    found: list[Finding] = []
    for path, on, cause in modes:
        if on:
            subject = Subject("modes", f"{path} ({case.source(path)})")
            value = "true" if path in {"auth.enabled", "outbound.verify"} else "false"
            mend = f"set {path} to {value}, and restart"
            developing = settings.environment == "development"
            say = subject.warn if developing else subject.fail
            found.append(say(cause, path, mend))
    return [*(found or [Subject("modes", "bypass modes").ok("all are off")]), _portal(case)]


def _portal(case: Case) -> Finding:
    auth = case.settings.auth
    subject = Subject("licence", "auth.customer_portal_url")
    urls = [url for url in (auth.customer_portal_url, auth.platform_customer_portal_url) if url]
    if urls:
        return subject.ok(f"keys of the customer portal at {urls[0]} are accepted")
    return subject.ok("offline: no customer portal is asked, and nothing waits for one")
