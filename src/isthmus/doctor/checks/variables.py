"""The settings: where they come from, and variables that look like settings and are none."""

import asyncio
import stat
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from isthmus.doctor.case import Case
from isthmus.doctor.checks.files import mounted_for_us
from isthmus.doctor.finding import Finding, Subject
from isthmus.settings import Settings
from isthmus.settings_names import OPERATOR_NAMES
from isthmus.settings_sources import leaves

FAMILIES: Final = ("AIGW_", "DUO_WORKFLOW_", "PROMETHEUS_METRICS__", "CUSTOMER_PORTAL_")
UNREAD: Final = frozenset(
    {
        *("AIGW_GITLAB_API_URL", "AIGW_GLGO_BASE_URL", "AIGW_USE_AGENTIC_MOCK"),
        *("AIGW_MOCK_USAGE_CREDITS", "AIGW_MOCK_USAGE_QUOTA_SERVER__URL"),
        *("AIGW_LOGGING__ENABLE_LITELLM_LOGGING", "AIGW_FASTAPI__UVICORN_LOGGER"),
        *("AIGW_FASTAPI__RELOAD", "AIGW_FASTAPI__TLS__SSL_CIPHERS", "AIGW_MTLS__ENABLED"),
        *("AIGW_MODEL_SELECTION__PROMPT_PARAMS", "AIGW_LITELLM__MODEL_METADATA_FILE"),
        *("AIGW_BIND_TOOLS_CACHE__ENABLED", "AIGW_BIND_TOOLS_CACHE__MAX_SIZE"),
        *("AIGW_CUSTOMERSDOT__API_USER", "AIGW_CUSTOMERSDOT__API_TOKEN"),
        *("AIGW_GOOGLE_CLOUD_PROFILER__ENABLED", "DUO_WORKFLOW_GOOGLE_CLOUD_PROFILER__ENABLED"),
        *("DUO_WORKFLOW_USE_CACHING_PROXY", "DUO_WORKFLOW_CACHING_PROXY_URL"),
        *("AIGW_INTERNAL_EVENT__THREAD_COUNT", "AIGW_BILLING_EVENT__THREAD_COUNT"),
        *("AIGW_SNOWPLOW__THREAD_COUNT", "AIGW_AUDIT_EVENT__ENABLED"),
        *("AIGW_AUDIT_EVENT__BUFFER_SIZE", "AIGW_AUDIT_EVENT__MAX_RETRIES"),
    }
)
"""Names of the published contracts that are spelled right, and that nothing here reads."""
_NO_FILE: Final = ("variable", "flag", "file of ")
_ALIKE: Final = 0.9


async def check(case: Case) -> Sequence[Finding]:
    """Where settings come from; then each variable that seems misspelled."""
    kinds = dict.fromkeys(source.partition(",")[0] for source in case.sources.values())
    files = [kind for kind in kinds if not kind.startswith(_NO_FILE)]
    subject = Subject("settings", f"{len(case.sources)} settings that are not default")
    found = [subject.ok("; ".join(_sources(case, files))), *_misspelled(case)]
    return [*found, *await asyncio.to_thread(_open_files, case, files)]


def _sources(case: Case, files: Sequence[str]) -> Iterator[str]:
    """Each file with the settings that it gives, then the variables and flags that give others."""
    for file in files:
        paths = [path for path, one in case.sources.items() if one.partition(",")[0] == file]
        yield f"{file}: {', '.join(paths)}"
    others = [one for one in case.sources.values() if one.startswith(_NO_FILE)]
    if others:
        yield ", ".join(dict.fromkeys(others))


def _misspelled(case: Case) -> Iterator[Finding]:
    known = {name for name, _ in OPERATOR_NAMES} | UNREAD
    known |= {f"{name}_FILE" for name in known}
    for name in sorted(case.environ):
        upper = name.upper()
        if upper in known or not upper.startswith(FAMILIES):
            continue
        near = get_close_matches(upper, sorted(known), n=1, cutoff=_ALIKE)
        if near:
            subject = Subject("settings.variable", name)
            cause = f"nothing reads this variable; {near[0]} looks like it"
            path = dict(OPERATOR_NAMES).get(near[0], near[0])
            yield subject.warn(cause, path, f"rename {name} to {near[0]}, or remove it")


def _open_files(case: Case, files: Sequence[str]) -> list[Finding]:
    """A settings file with secrets that everybody may read."""
    paths = {leaf.path for leaf in leaves(Settings) if "SecretStr" in str(leaf.info.annotation)}
    found: list[Finding] = []
    for file in files:
        secret = sorted(
            path
            for path, source in case.sources.items()
            if path in paths and source.partition(",")[0] == file
        )
        path = Path(file)
        readable = path.is_file() and path.stat().st_mode & stat.S_IROTH
        if secret and readable and not mounted_for_us(path):
            cause = "it holds secrets, and everybody on this machine may read it"
            subject = Subject("settings.file", file)
            found.append(subject.warn(cause, secret[0], f"chmod o-rwx {file}"))
    return found
