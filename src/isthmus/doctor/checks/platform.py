"""The process that runs the sessions, where it is another one than this."""

import asyncio
from collections.abc import Sequence

from isthmus.adapters.outbound.trust import papers
from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject

PATH = "platform.url"


async def check(case: Case) -> Sequence[Finding]:
    """One finding; none when sessions run here."""
    settings = case.settings.platform
    if not settings.url:
        return []
    target = settings.url.partition("://")[2] or settings.url
    subject = Subject("platform", f"{target} ({PATH}, {case.source(PATH)})")
    try:
        from isthmus.doctor.grpc_health import Door, ask  # noqa: PLC0415 - an extra
    except ImportError:
        return [subject.skip("needs the extra isthmus[platform]")]
    secure = settings.secure
    shown = await asyncio.to_thread(papers, case.settings.outbound) if secure else None
    said = await ask(Door(target, shown), case.limit_s * 0.8)
    if said == "SERVING":
        return [subject.ok("it takes sessions")]
    if said == "NOT_SERVING":
        return [subject.warn("it takes no sessions now: it starts or drains", PATH, "wait")]
    tls = "with TLS, as platform.secure says" if secure else "without TLS, as platform.secure says"
    cause = f"no agent platform answers there {tls} ({said})"
    mend = "start it there, or correct platform.url and platform.secure"
    return [subject.fail(cause, PATH, mend)]
