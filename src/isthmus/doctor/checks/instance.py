"""The GitLab instance's API: there, and of which version."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.auth.strict import Malformed, decode_object
from isthmus.core.errors import Failure
from isthmus.core.messages import OutboundRequest
from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject
from isthmus.doctor.reach import reason_of

ANSWER_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the instance said, and whether it was shown a token."""

    status: int
    body: bytes
    known: bool


async def check(case: Case) -> Sequence[Finding]:
    """A finding for each instance that settings name."""
    settings = case.settings
    ci, listed = settings.runners.gitlab_ci, settings.instances
    named: tuple[tuple[str, str, str], ...] = (
        ("auth.gitlab_url", settings.auth.gitlab_url, ""),
        ("instance.gitlab_url", settings.instance.gitlab_url, ""),
        ("runners.gitlab_ci.url", ci.url, ci.token.get_secret_value()),
    )
    named += tuple((f"instances.{name}.url", one.url, "") for name, one in listed.items())
    roots: dict[str, tuple[str, str]] = {}
    for path, url, token in named:
        root = url.strip().rstrip("/").removesuffix("/api/v4")
        if root and (token or root not in roots):
            roots[root] = path, token
    if not roots:
        subject = Subject("instance", "auth.gitlab_url")
        return [subject.skip("no instance is set: this server is its own")]
    looks = (_one(case, root, path, token) for root, (path, token) in roots.items())
    return await asyncio.gather(*looks)


async def _one(case: Case, root: str, path: str, token: str) -> Finding:
    subject = Subject("instance", f"{root}/api/v4/version ({path})")
    headers = (("accept", "application/json"), *((("private-token", token),) if token else ()))
    request = OutboundRequest("GET", f"{root}/api/v4/version", headers)
    try:
        async with case.outbound.open(request, case.deadline()) as reply:
            status, body = reply.status, await reply.read(ANSWER_LIMIT_BYTES)
    except Failure as error:
        reason = reason_of(error, root, path)
        return subject.fail(reason.cause, reason.setting, reason.mend)
    answer = Answer(status, body, bool(token))
    return _judged(subject, f"{root}/api/v4/version", path, answer)


def _judged(subject: Subject, url: str, path: str, answer: Answer) -> Finding:
    status, curl = answer.status, f"curl -iL {url}"
    if status == 200:
        try:
            return subject.ok(f"GitLab {str(decode_object(answer.body).get('version', '?'))[:40]}")
        except Malformed:
            return subject.warn("it answers with something else than JSON", path, curl)
    if status in {401, 403}:
        if not answer.known:
            return subject.ok("it answers, and tells its version to nobody without a token")
        mend = "have a new token made there, and set runners.gitlab_ci.token"
        return subject.fail("it refuses our token", "runners.gitlab_ci.token", mend)
    moved = 300 <= status < 400
    cause = "that is not its address" if moved else "no GitLab API is at that address"
    return subject.warn(f"it answers with status {status}: {cause}", path, curl)
