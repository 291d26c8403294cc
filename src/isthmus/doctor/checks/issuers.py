"""Each issuer of tokens: its discovery document and its keys, fetched as the server would."""

import asyncio
from collections.abc import Mapping, Sequence

from isthmus.adapters.keysets.jwks import Fetching, Issuer
from isthmus.adapters.keysets.merged import gateway_issuers, platform_issuers
from isthmus.auth.strict import Malformed
from isthmus.core.errors import Failure
from isthmus.core.ports import VerificationKey
from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject
from isthmus.doctor.reach import reason_of


async def check(case: Case) -> Sequence[Finding]:
    """A finding for each issuer."""
    named = {**settings_of(case)}
    if case.settings.instance.oidc.issuer:
        named.setdefault(case.settings.instance.oidc.issuer.rstrip("/"), "instance.oidc.issuer")
    if not named:
        subject = Subject("issuers", "auth.gitlab_url")
        return [subject.skip("none is set: only tokens of our own are accepted")]
    return await asyncio.gather(*(_one(case, url, path) for url, path in named.items()))


def settings_of(case: Case) -> Mapping[str, str]:
    """Issuer -> the setting that names it."""
    auth = case.settings.auth
    paths = (
        ("auth.platform_customer_portal_url", auth.platform_customer_portal_url),
        ("auth.customer_portal_url", auth.customer_portal_url),
        ("auth.platform_gitlab_url", auth.platform_gitlab_url),
        ("auth.gitlab_url", auth.gitlab_url),
    )
    known = {url.strip().rstrip("/"): path for path, url in paths}
    urls = dict.fromkeys((*gateway_issuers(auth), *platform_issuers(auth)))
    found = {url: known.get(url, "auth.issuers") for url in urls}
    for name, one in case.settings.instances.items():
        found[one.url] = f"instances.{name}.url"
    return found


async def keys_of(case: Case, url: str) -> tuple[VerificationKey, ...]:
    """What an issuer publishes. Raises Failure, Malformed, or ValueError for its URL."""
    fetching = Fetching(case.outbound, case.clock, case.telemetry, timeout_s=case.limit_s * 0.9)
    return await Issuer(url, fetching).fetch()


async def _one(case: Case, url: str, path: str) -> Finding:
    subject = Subject("issuers", f"{url} ({path}, {case.source(path)})")
    try:
        keys = await keys_of(case, url)
    except Malformed as error:
        mend = f"correct {path}, or see to it there: curl {url}/.well-known/openid-configuration"
        return subject.fail(f"what it publishes cannot be used: {error}", path, mend)
    except ValueError as error:
        return subject.fail(str(error), path, f"set {path} to a URL such as https://gitlab.example")
    except Failure as error:
        reason = reason_of(error, url, path)
        return subject.fail(reason.cause, reason.setting, reason.mend)
    return subject.ok(f"{len(keys)} keys")
