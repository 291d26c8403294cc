"""Switches that take protection away, and what holds in their place."""

from collections.abc import Sequence

from isthmus.auth.bypass import MEANING, bypasses
from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject

OTHERS = {
    "outbound.verify": "certificates of servers are not checked: anybody on the way reads our keys",
    "models.mock": "no model is called: every answer is `mock`",
}


async def check(case: Case) -> Sequence[Finding]:
    """A finding for each mode that is on; one that says so when none is."""
    settings = case.settings
    on = [*bypasses(settings.auth)]
    on += ["outbound.verify"] if not settings.outbound.verify else []
    on += ["models.mock"] if settings.models.mock else []
    found: list[Finding] = []
    for path in on:
        subject = Subject("modes", f"{path} ({case.source(path)})")
        value = "true" if path in {"auth.enabled", "outbound.verify"} else "false"
        # A developer's machine may have them on, and is told all the same.
        say = subject.warn if settings.environment == "development" else subject.fail
        found.append(say((MEANING | OTHERS)[path], path, f"set {path} to {value}, and restart"))
    return [*(found or [Subject("modes", "bypass modes").ok("all are off")]), _portal(case)]


def _portal(case: Case) -> Finding:
    auth = case.settings.auth
    subject = Subject("licence", "auth.customer_portal_url")
    urls = [url for url in (auth.customer_portal_url, auth.platform_customer_portal_url) if url]
    if urls:
        return subject.ok(f"keys of the customer portal at {urls[0]} are accepted")
    return subject.ok("offline: no customer portal is asked, and nothing waits for one")
