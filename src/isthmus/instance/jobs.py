"""What a run without a person is given: the variables and the command of its job. Pure.

Source: instance contract, sections 2.6 and 2.7.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import msgspec

from isthmus.core.accounts import Place, User
from isthmus.core.errors import Conflict
from isthmus.core.job import RunnerRef
from isthmus.core.workflow import Workflow
from isthmus.instance.broker import Identity, Reach
from isthmus.instance.metadata import JOB_FEATURE

SECRETS: Final = frozenset(
    {
        "DUO_WORKFLOW_GIT_HTTP_PASSWORD",
        "DUO_WORKFLOW_SERVICE_TOKEN",
        "GITLAB_OAUTH_TOKEN",
        "GITLAB_TOKEN",
        "GIT_PASSWORD",
    }
)
"""Variables that hold a token: fresh in each job, and kept nowhere."""
STANDARD_CONTEXT: Final = "agent_platform_standard_context"
TRIGGER_CONTEXT: Final = "agent_platform_trigger_context"
GOAL_CHARS: Final = 16_384
REASON_CHARS: Final = 2_000
KEPT_BYTES: Final = 65_536
_NEVER_KEPT = SECRETS | {"DUO_WORKFLOW_GOAL"}
_GIT_PAIR = "GIT_CONFIG_"


@dataclass(frozen=True, slots=True)
class JobTokens:
    """What the job acts with: `flow` at the instance, `service` at the platform."""

    flow: str = field(repr=False)
    service: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Extra:
    """What a start may bring: an inline or named flow, context entries, and how to check out.

    `context` entries have the keys Category, Content and Metadata. `trigger` is the content of the
    context entry that tells what caused the run, as JSON text.
    """

    flow_config: str = ""
    flow_config_id: str = ""
    flow_config_schema_version: str = ""
    flow_version: str = ""
    context: tuple[Mapping[str, object], ...] = ()
    trigger: str = ""
    shallow: bool = True


@dataclass(frozen=True, slots=True)
class Site:
    """Where the job finds us, and who we are. `base_url` has no slash at its end."""

    base_url: str
    identity: Identity
    reach: Reach = field(default_factory=Reach)

    @property
    def platform(self) -> str:
        """The platform's `host:port`."""
        host = urlsplit(self.base_url).hostname or "127.0.0.1"
        shown = f"[{host}]" if ":" in host else host
        return self.reach.platform or f"{shown}:{self.reach.platform_port}"


@dataclass(frozen=True, slots=True)
class JobOrder:
    """One job to be described. `model` is the text of the model metadata, empty for none."""

    workflow: Workflow
    user: User
    place: Place
    site: Site
    model: str = ""
    extra: Extra = field(default_factory=Extra)


@dataclass(frozen=True, slots=True)
class Decision:
    """How a waiting session goes on: the person's word, and what they said with it."""

    approved: bool
    message: str = ""


class Kept(msgspec.Struct, frozen=True):
    """What a workflow remembers of its last job: no secret, and no more than `KEPT_BYTES`."""

    id: str = ""
    number: int = 0
    url: str = ""
    variables: dict[str, str] = {}

    @property
    def ref(self) -> RunnerRef | None:
        """The run, when there was one."""
        return RunnerRef(self.id, self.number, self.url) if self.id else None


def variables(order: JobOrder, tokens: JobTokens) -> dict[str, str]:
    """Everything that the headless executor needs, by the names of the contract."""
    return {
        **_checkout(order),
        **_author(order.user),
        **_session(order),
        **_service(order),
        **_tools(order),
        **_fresh(tokens),
    }


def resumed(order: JobOrder, tokens: JobTokens, previous: Mapping[str, str]) -> dict[str, str]:
    """The previous job's variables with fresh tokens; a full set where there was no job.

    Git's own settings are made anew, the goal is the record's, and a model that was resolved or
    stored replaces the job's.
    """
    fresh = variables(order, tokens)
    kept = {name: text for name, text in previous.items() if name not in _NEVER_KEPT}
    merged = fresh | {n: text for n, text in kept.items() if not n.startswith(_GIT_PAIR)}
    merged |= _fresh(tokens)
    if order.model:
        for name in ("AGENT_PLATFORM_MODEL_METADATA", "DUO_WORKFLOW_METADATA"):
            merged[name] = fresh[name]
    return merged


def arguments(workflow_id: str, decision: Decision | None = None) -> tuple[str, ...]:
    """What follows the executor's command."""
    words = ["--existing-session-id", workflow_id, "--connection-type", "websocket"]
    if decision is not None:
        words += ["--approval", "true" if decision.approved else "false"]
    if decision is not None and decision.message:
        words += ["--rejection-reason", decision.message[:REASON_CHARS]]
    return tuple(words)


def command(words: Sequence[str], program: str = "isthmus executor --headless") -> str:
    """The same as a line for a shell, every word escaped."""
    return f"{program} {shlex.join(words)}"


def kept(ref: RunnerRef, given: Mapping[str, str]) -> str:
    """The text that a workflow keeps of a job; the largest values go when it is too long."""
    stays = {name: text for name, text in given.items() if name not in _NEVER_KEPT}
    while True:
        text = msgspec.json.encode(Kept(ref.id, ref.number, ref.url, stays))
        if len(text) <= KEPT_BYTES or not stays:
            return text.decode()
        del stays[max(stays, key=lambda name: len(stays[name]))]


def last(workflow: Workflow) -> Kept:
    """What is remembered of the last job. Raises Conflict when it cannot be read."""
    try:
        return msgspec.json.decode(workflow.job or "{}", type=Kept)
    except msgspec.DecodeError as error:
        raise Conflict("the workflow's last job cannot be read") from error


def _checkout(order: JobOrder) -> dict[str, str]:
    common = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", **_git_settings(order)}
    if order.place.project is None:
        return {"GIT_STRATEGY": "none", **common}
    depth = {"GIT_DEPTH": "1"} if order.extra.shallow else {}
    flags = "--prune --quiet --filter=blob:none"
    return {**depth, "GIT_FETCH_EXTRA_FLAGS": flags, "GIT_LFS_SKIP_SMUDGE": "1", **common}


def _git_settings(order: JobOrder) -> dict[str, str]:
    host = urlsplit(order.site.base_url).hostname or ""
    pairs = (
        ("safe.directory", "*"),
        (f"url.{order.site.base_url}/.insteadOf", f"git@{host}:"),
        ("core.hooksPath", "/dev/null"),
        ("http.proactiveAuth", "basic"),
    )
    named = {f"{_GIT_PAIR}COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs):
        named |= {f"{_GIT_PAIR}KEY_{number}": key, f"{_GIT_PAIR}VALUE_{number}": value}
    return named


def _author(user: User) -> dict[str, str]:
    email = user.email or f"{user.username}@users.noreply.invalid"
    names = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME")
    emails = ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL", "DUO_WORKFLOW_GIT_USER_EMAIL")
    return {
        **dict.fromkeys((*names, "DUO_WORKFLOW_GIT_USER_NAME"), user.name),
        **dict.fromkeys((*emails, "DUO_WORKFLOW_GIT_AUTHOR_EMAIL"), email),
        "DUO_WORKFLOW_GIT_AUTHOR_USER_NAME": user.username,
    }


def _session(order: JobOrder) -> dict[str, str]:
    workflow, place, extra = order.workflow, order.place, order.extra
    return {
        "DUO_WORKFLOW_BASE_PATH": "./",
        "DUO_WORKFLOW_DEFINITION": workflow.definition,
        "DUO_WORKFLOW_GOAL": workflow.goal[:GOAL_CHARS],
        "DUO_WORKFLOW_WORKFLOW_ID": workflow.workflow_id,
        "DUO_WORKFLOW_SOURCE_BRANCH": workflow.terms.source_branch,
        "DUO_WORKFLOW_FLOW_CONFIG": extra.flow_config,
        "DUO_WORKFLOW_FLOW_CONFIG_ID": extra.flow_config_id,
        "DUO_WORKFLOW_FLOW_CONFIG_SCHEMA_VERSION": extra.flow_config_schema_version,
        "DUO_WORKFLOW_FLOW_VERSION": extra.flow_version,
        "DUO_WORKFLOW_ADDITIONAL_CONTEXT_CONTENT": _context(order),
        "DUO_WORKFLOW_METADATA": _metadata(order),
        "DUO_WORKFLOW_PROJECT_ID": str(place.project.id) if place.project else "",
        "DUO_WORKFLOW_NAMESPACE_ID": str(place.root_id),
        "AGENT_PLATFORM_MODEL_METADATA": order.model,
        "AGENT_PLATFORM_FEATURE_SETTING_NAME": JOB_FEATURE,
    }


def _service(order: JobOrder) -> dict[str, str]:
    site, identity = order.site, order.site.identity
    return {
        "DUO_WORKFLOW_SERVICE_SERVER": site.platform,
        "DUO_WORKFLOW_SERVICE_REALM": identity.realm,
        "DUO_WORKFLOW_GLOBAL_USER_ID": order.user.global_id,
        "DUO_WORKFLOW_INSTANCE_ID": identity.instance_id,
        "DUO_WORKFLOW_INSECURE": "false" if site.reach.platform_secure else "true",
        "DUO_WORKFLOW_DEBUG": "false",
        "DUO_WORKFLOW_GIT_HTTP_BASE_URL": site.base_url,
        "DUO_WORKFLOW_GIT_HTTP_USER": "oauth",
        "AGENT_PLATFORM_GITLAB_VERSION": identity.version,
        "LOG_LEVEL": "debug",
    }


def _tools(order: JobOrder) -> dict[str, str]:
    project = order.place.project
    return {
        "GITLAB_BASE_URL": order.site.base_url,
        "GITLAB_PROJECT_PATH": project.full_path if project else "",
        "GLAB_CHECK_UPDATE": "0",
        "GITLAB_ENABLE_GLOBAL_SKILLS": "true",
        "DUO_SESSION_TRACKING_ENABLED": "true",
        "LANGSMITH_TRACE": "",
        "NPM_CONFIG_CACHE": "/tmp/npm-cache",  # noqa: S108 - of the job's own machine
        "GITLAB_LSP_STORAGE_DIR": "/tmp/lsp",  # noqa: S108
        "TMPDIR": "/tmp",  # noqa: S108
        "GITLAB_WORKFLOW_SANDBOX": "true",
    }


def _fresh(tokens: JobTokens) -> dict[str, str]:
    return {
        "GITLAB_OAUTH_TOKEN": tokens.flow,
        "GITLAB_TOKEN": tokens.flow,
        "DUO_WORKFLOW_GIT_HTTP_PASSWORD": tokens.flow,
        "GIT_PASSWORD": tokens.flow,
        "DUO_WORKFLOW_SERVICE_TOKEN": tokens.service,
        "GLAB_IS_OAUTH2": "true",
    }


def _context(order: JobOrder) -> str:
    """Our own entries, then the caller's of other categories."""
    project = order.place.project
    primary = project.default_branch if project else ""
    content = {
        "workload_branch": order.workflow.terms.source_branch or primary,
        "primary_branch": primary,
        "session_owner_id": str(order.user.id),
        "service_account_name": order.user.username,
    }
    entries: list[dict[str, object]] = [
        _entry(STANDARD_CONTEXT, msgspec.json.encode(content).decode())
    ]
    if order.extra.trigger:
        entries.append(_entry(TRIGGER_CONTEXT, order.extra.trigger))
    ours = {STANDARD_CONTEXT, TRIGGER_CONTEXT}
    entries += [dict(entry) for entry in order.extra.context if entry.get("Category") not in ours]
    return msgspec.json.encode(entries).decode()


def _entry(category: str, content: str) -> dict[str, object]:
    return {"Category": category, "Content": content, "Metadata": '{"version":"1.0.0"}'}


def _metadata(order: JobOrder) -> str:
    try:
        model: object = msgspec.json.decode(order.model or "null")
    except msgspec.DecodeError:
        model = None
    told = {
        "extended_logging": False,
        "rootNamespaceId": str(order.place.root_id),
        "modelMetadata": model,
    }
    return msgspec.json.encode(told).decode()
