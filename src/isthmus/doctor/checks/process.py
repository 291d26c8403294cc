"""What the operating system grants, whether proxies in front are believed, what already runs."""

import asyncio
import resource
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from typing import Final

from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject
from isthmus.running import differences, snapshots

FILES_LEAST: Final = 256
FILES_WANTED: Final = 1024


async def check(case: Case) -> Sequence[Finding]:
    """Open files, trusted proxies, and the settings that a running server goes by."""
    return [_files(), *_trusted(case), *await asyncio.to_thread(_running, case)]


def _files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    subject = Subject("process.files", "limit of open files")
    if soft == resource.RLIM_INFINITY or soft >= FILES_WANTED:
        return subject.ok(str(soft))
    cause = f"{soft} files and connections may be open at once; each call takes two"
    say = subject.fail if soft < FILES_LEAST else subject.warn
    return say(cause, "LimitNOFILE of the unit, or ulimit", "ulimit -n 65536")


def _trusted(case: Case) -> Iterator[Finding]:
    path = "http.trusted_proxies"
    listed = case.settings.http.trusted_proxies
    subject = Subject("proxies", f"{path} ({case.source(path)})")
    for one in listed:
        if one == "*":
            cause = "everybody is believed who says for whom a request is forwarded"
            yield subject.warn(cause, path, "list the addresses of the proxies in front instead")
            continue
        try:
            ip_network(one)
        except ValueError:
            cause = f"`{one}` is no address and no network, so it matches nobody"
            yield subject.fail(cause, path, "list addresses, or networks such as 10.0.0.0/8")
    if not listed:
        yield subject.ok("none: who connects is who calls")


def _running(case: Case) -> Iterator[Finding]:
    subject = Subject("running", f"servers on the data in {case.settings.data_dir}")
    running = list(snapshots(case.settings.data_dir))
    if not running:
        yield subject.skip("none runs")
        return
    changed = [one.path for shot in running for one in differences(shot, case.settings)]
    changed = [path for path in dict.fromkeys(changed) if path != "transports"]
    if not changed:
        yield subject.ok("it goes by these settings")
        return
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    cause = f"it goes by other values of {', '.join(changed[:3])}{more} than are set here"
    yield subject.warn(cause, changed[0], "isthmus config diff")
