"""This machine's clock against those of the servers that answered."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from isthmus.auth.verify import LEEWAY_S
from isthmus.core.ports import Outbound
from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject
from isthmus.doctor.watched import Watched

MEND: Final = "timedatectl set-ntp true"


def watched(client: Outbound) -> Watched:
    """The client whose answers the clock is judged by."""
    return Watched(client)


async def check(case: Case) -> Sequence[Finding]:
    """One finding, by the median of all servers: one wrong clock elsewhere is not ours."""
    ours = {urlsplit(url).netloc for url in case.asked.via}
    told = case.outbound.skews.items()
    skews = sorted((skew, host) for host, skew in told if host not in ours)
    subject = Subject("clock", f"this machine's clock beside {len(skews)} servers'")
    if not skews:
        return [subject.skip("no server answered that tells the time")]
    skew_s, host = skews[len(skews) // 2]
    if abs(skew_s) <= LEEWAY_S:
        return [subject.ok()]
    side = "behind" if skew_s > 0 else "ahead of"
    cause = (
        f"it is {abs(skew_s):.0f} s {side} that of {host}: tokens are refused beyond "
        f"{LEEWAY_S:.0f} s"
    )
    return [subject.fail(cause, "the system's clock", MEND)]
