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
    """Our own clock by most of the servers'; then each server whose clock differs from those."""
    ours = {urlsplit(url).netloc for url in case.asked.via}
    skews = {host: skew for host, skew in case.outbound.skews.items() if host not in ours}
    subject = Subject("clock", f"this machine's clock beside {len(skews)} servers'")
    if not skews:
        return [subject.skip("no server answered that tells the time")]
    wrong = {host: skew for host, skew in skews.items() if abs(skew) > LEEWAY_S}
    if len(wrong) * 2 > len(skews):
        host, skew_s = max(wrong.items(), key=lambda one: abs(one[1]))
        cause = (
            f"it is {_off(-skew_s)} that of {host}: tokens are refused that begin more than "
            f"{LEEWAY_S:.0f} s in the future"
        )
        return [subject.fail(cause, "the system's clock", MEND)]
    found = [_theirs(host, skew_s) for host, skew_s in wrong.items()]
    return found or [subject.ok()]


def _theirs(host: str, skew_s: float) -> Finding:
    subject = Subject("clock", f"the clock of {host}")
    cause = f"it is {_off(skew_s)} this machine's and others': its tokens may be refused"
    return subject.warn(cause, f"the clock of {host}", f"on {host}: {MEND}")


def _off(ahead_s: float) -> str:
    return f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'}"
