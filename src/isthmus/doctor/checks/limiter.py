"""The store of shared limits: reached, let in, its version, policy and speed."""

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final, cast

from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject
from isthmus.doctor.reach import place_of

PATH: Final = "limits.url"
SAFE: Final = frozenset({"noeviction", "volatile-ttl", "volatile-lru", "volatile-lfu"})


async def check(case: Case) -> Sequence[Finding]:
    """One finding."""
    url = case.settings.limits.url.get_secret_value()
    if not url:
        return [Subject("limits", PATH).ok("counted in the process: no store is set")]
    subject = Subject("limits", f"the store at {_place(url)} ({case.source(PATH)})")
    try:
        import valkey  # noqa: F401, PLC0415 # pyright: ignore[reportUnusedImport] - an extra
    except ImportError:
        return [subject.fail("the client is not installed", PATH, "pip install 'isthmus[valkey]'")]
    return [await _asked(case, subject, url)]


async def _asked(case: Case, subject: Subject, url: str) -> Finding:
    from valkey.asyncio import Valkey  # noqa: PLC0415 - an extra
    from valkey.exceptions import AuthenticationError, ResponseError, ValkeyError  # noqa: PLC0415

    try:
        client = Valkey.from_url(url)
    except ValueError:
        return subject.fail("the URL cannot be read", PATH, "valkey://:PASSWORD@HOST:6379/0")
    try:
        async with asyncio.timeout(case.limit_s * 0.8):
            await cast("Awaitable[object]", client.ping())
            began_s = time.perf_counter()
            told = cast("Mapping[str, object]", await client.info())
            took_ms = (time.perf_counter() - began_s) * 1000
    except (AuthenticationError, ResponseError):
        cause = "it refuses the user, or the password, of limits.url"
        return subject.fail(cause, PATH, "set the password in limits.url: valkey://:PASSWORD@HOST")
    except TimeoutError:
        cause = "it did not answer in time: each process counts alone meanwhile"
        return subject.fail(cause, PATH, "check the route, and limits.timeout_s")
    except (ValkeyError, OSError, UnicodeError):
        cause = "nothing answers there: each process counts alone meanwhile"
        return subject.fail(cause, PATH, "start Valkey, or correct limits.url")
    finally:
        await client.aclose()
    limit_ms = case.settings.limits.timeout_s * 1000
    if took_ms > limit_ms:
        cause = f"it took {took_ms:.0f} ms to answer, and limits.timeout_s allows {limit_ms:.0f}"
        mend = "move it nearer; until then raise limits.timeout_s"
        return subject.warn(cause, "limits.timeout_s", mend)
    return _judged(subject, told, took_ms)


def _judged(subject: Subject, told: Mapping[str, object], took_ms: float) -> Finding:
    name = "Valkey" if "valkey_version" in told else "Redis"
    version = str(told.get("valkey_version") or told.get("redis_version") or "?")
    policy = str(told.get("maxmemory_policy") or "noeviction")
    if policy not in SAFE:
        cause = f"its maxmemory-policy is {policy}: counters may be evicted while they count"
        return subject.warn(cause, PATH, "CONFIG SET maxmemory-policy noeviction")
    if told.get("loading") in {1, "1"}:
        return subject.warn("it still loads its data", PATH, "wait")
    if int(version.partition(".")[0] or 0) < 5:
        return subject.warn(f"{name} {version} is too old", PATH, "install 6 or newer")
    return subject.ok(f"{name} {version}, {policy}, {took_ms:.0f} ms")


def _place(url: str) -> str:
    found = place_of(url)
    if url.startswith("unix:"):
        return "a socket of this machine"
    return f"{found.removesuffix(':80')}:6379" if found.endswith(":80") else found
