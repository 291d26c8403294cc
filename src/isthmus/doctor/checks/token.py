"""A token that was given by `--token`: would we accept it, and if not, why."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import cast

from isthmus.auth.issue import DEVELOPMENT_ISSUER, UnusableKey, signing_kid, verification_key
from isthmus.auth.scopes import UNIT_PRIMITIVES
from isthmus.auth.strict import Malformed
from isthmus.auth.verify import LEEWAY_S, Claims, Token, claims_of, parse, signed_by
from isthmus.core.errors import Failure, Unauthenticated
from isthmus.core.ports import VerificationKey
from isthmus.doctor.case import Case
from isthmus.doctor.checks.issuers import keys_of, settings_of
from isthmus.doctor.finding import Finding, Subject
from isthmus.doctor.own import signing_key

AGAIN = "have the token made again, and try `isthmus doctor --token-file FILE`"


async def check(case: Case) -> Sequence[Finding]:
    """Every reason for which the token would be refused."""
    if not case.asked.token:
        return []
    subject = Subject("token", "the token of --token")
    try:
        token = parse(case.asked.token)
    except Unauthenticated:
        return [subject.fail("it is no JSON web token in three parts", "--token", AGAIN)]
    found = [*_claims(case, subject, token.payload), *await _signature(case, subject, token)]
    return found or [_accepted(case, subject, token)]


def _claims(case: Case, subject: Subject, payload: Mapping[str, object]) -> Iterator[Finding]:
    auth = case.settings.auth
    audience = _texts(payload.get("aud"))
    if not {auth.service_name, auth.platform_service_name} & {*audience}:
        wanted = f"{auth.service_name} (HTTP) or {auth.platform_service_name} (gRPC)"
        told = ", ".join(one[:100] for one in audience) or "empty"
        cause = f"its audience is {told}, and ours is {wanted}"
        yield subject.fail(cause, "auth.service_name", "set auth.service_name to its audience")
    now_s = time.time()
    ends = payload.get("exp")
    if isinstance(ends, int | float) and now_s >= ends:
        cause = f"it expired {now_s - ends:.0f} s ago"
        yield subject.fail(cause, "the token, or a clock", AGAIN)
    for name in ("nbf", "iat"):
        begins = payload.get(name)
        if isinstance(begins, int | float) and now_s < begins - LEEWAY_S:
            cause = (
                f"its `{name}` is {begins - now_s:.0f} s in the future, more than {LEEWAY_S:.0f}"
            )
            yield subject.fail(cause, "the system's clock", "timedatectl set-ntp true")
    scopes = _texts(payload.get("scopes"))
    if not scopes:
        yield subject.warn("it has no scopes, so it opens nothing", "the token", AGAIN)
    elif not {*scopes} & UNIT_PRIMITIVES:
        cause = "none of its scopes is one that this server knows"
        yield subject.warn(cause, "the token", AGAIN)


def _texts(value: object) -> list[str]:
    """The texts of a claim that holds one, or a list of them."""
    listed = cast("list[object]", value) if isinstance(value, list) else [value]
    return [one for one in listed if isinstance(one, str)]


async def _signature(case: Case, subject: Subject, token: Token) -> list[Finding]:
    if token.algorithm != "RS256":
        cause = f"it is signed by {str(token.algorithm)[:20]}, and RS256 alone is accepted"
        return [subject.fail(cause, "the token", AGAIN)]
    issuer = str(token.payload.get("iss", ""))[:200].rstrip("/")
    for name, one in case.settings.instances.items():
        if one.iss == issuer:
            return await _listed(case, subject, token, name)
    if signed_by(token, await asyncio.to_thread(_own, case)):
        return []
    named = settings_of(case)
    sets = await asyncio.gather(*(_published(case, url) for url in named))
    if signed_by(token, [key for keys in sets for key in keys]):
        return []
    return [_unverified(case, subject, issuer, named)]


async def _listed(case: Case, subject: Subject, token: Token, name: str) -> list[Finding]:
    """What is wrong with a token of a listed instance, which its own keys alone verify."""
    one, path = case.settings.instances[name], f"instances.{name}"
    if not signed_by(token, await _published(case, one.url)):
        cause = f"its issuer is the instance `{name}`, and none of its keys verifies the signature"
        mend = "see the finding on this issuer; or the token is forged"
        return [subject.fail(cause, f"{path}.url", mend)]
    realm = str(token.payload.get("gitlab_realm", ""))[:80]
    if one.realm and realm != one.realm:
        cause = f"its realm is {realm or '(none)'}, and that of `{name}` is {one.realm}"
        return [subject.fail(cause, f"{path}.realm", f"correct {path}.realm, or leave it out")]
    return []


def _unverified(case: Case, subject: Subject, issuer: str, named: Mapping[str, str]) -> Finding:
    """Why no key verifies the signature."""
    if issuer in named:
        path = named[issuer]
        cause = f"its issuer {issuer} is set, and no key that it publishes verifies the signature"
        return subject.fail(cause, path, "see the finding on this issuer; or the token is forged")
    ours = {case.settings.auth.service_name, case.settings.auth.platform_service_name}
    if issuer in ours or issuer == DEVELOPMENT_ISSUER:
        cause = f"it says that we ({issuer}) signed it, and none of our keys did"
        mend = "isthmus keys show; the key it was signed with belongs into auth.validation_key"
        return subject.fail(cause, "auth.validation_key", mend)
    cause = f"its issuer {issuer or '(none)'} is none of those that are set"
    mend = f"set auth.gitlab_url, or add it to auth.issuers, as it stands there: {issuer}"
    return subject.fail(cause, "auth.gitlab_url", mend)


def _own(case: Case) -> list[VerificationKey]:
    auth = case.settings.auth
    made = signing_key(case.settings)
    found = [] if made is None else [made.public(signing_kid(auth.service_name))]
    for secret in (
        auth.signing_key,
        auth.validation_key,
        auth.platform_signing_key,
        auth.platform_validation_key,
    ):
        with suppress(UnusableKey):
            found.append(verification_key(secret.get_secret_value(), ""))
    return found


async def _published(case: Case, url: str) -> tuple[VerificationKey, ...]:
    try:
        return await keys_of(case, url)
    except (Failure, Malformed, ValueError):
        return ()


def _accepted(case: Case, subject: Subject, token: Token) -> Finding:
    """What a caller with this token sends beside it."""
    auth, now_s = case.settings.auth, time.time()
    doors: list[str] = []
    claims: Claims | None = None
    for door, service in (("HTTP", auth.service_name), ("gRPC", auth.platform_service_name)):
        with suppress(Unauthenticated):
            claims = claims_of(token, service, now_s)
            doors.append(door)
    if claims is None:
        return subject.fail("a claim of it is of a wrong kind", "the token", AGAIN)
    own = claims.issuer in {auth.service_name, auth.platform_service_name}
    header = "X-Gitlab-Global-User-Id" if own else "X-Gitlab-Instance-Id"
    wanted = [f"{header}: {claims.subject[:80]}"] if claims.subject else []
    wanted += [f"X-Gitlab-Realm: {claims.realm[:80]}"] if claims.realm else []
    if claims.instance_id and not (not own and claims.instance_id == claims.subject):
        wanted.append(f"X-Gitlab-Instance-Id: {claims.instance_id[:80]}")
    ends = "never ends"
    if claims.expires_s < 4e9:
        ends = f"ends {datetime.fromtimestamp(claims.expires_s, UTC):%Y-%m-%d %H:%M UTC}"
    clash = claims.instance_id and not own and claims.instance_id != claims.subject
    if clash:
        cause = "its `sub` and its `gitlab_instance_id` differ, and one header must equal both"
        return subject.fail(cause, "the token", AGAIN)
    scopes = ", ".join(sorted(claims.scopes & UNIT_PRIMITIVES))
    sent = "; ".join(["X-Gitlab-Authentication-Type: oidc", *wanted])
    return subject.ok(f"accepted by {' and '.join(doors)}, {ends}, for {scopes}; send {sent}")
