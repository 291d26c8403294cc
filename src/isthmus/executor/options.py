"""The options of a run, and the variables of a job that stand for them: data, and how it is read.

Source: instance contract, section 6.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final

HEADLESS: Final = "DUO_WORKFLOW_WORKFLOW_ID"
"""A job is known by this variable."""
TOKEN: Final = "ISTHMUS_TOKEN"  # noqa: S105 - the variable's name
_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Option:
    """An option: its flags, the variables that give it in a job (the first one set counts)."""

    flags: tuple[str, ...]
    variables: tuple[str, ...]
    about: str
    metavar: str = "TEXT"


OPTIONS: Final[Mapping[str, Option]] = {
    "goal": Option(("--goal",), ("DUO_WORKFLOW_GOAL",), "what is to be done"),
    "workflow_id": Option(
        ("--workflow-id", "--existing-session-id"), (HEADLESS,), "go on with this session", "ID"
    ),
    "approval": Option(
        ("--approval",), ("DUO_WORKFLOW_APPROVAL",), "decide on what waits: true, false, once"
    ),
    "rejection_reason": Option(
        ("--rejection-reason",), ("DUO_WORKFLOW_REJECTION_REASON",), "what the agent is told then"
    ),
    "context": Option(
        ("--ai-context-items",),
        ("DUO_WORKFLOW_ADDITIONAL_CONTEXT_CONTENT",),
        "context entries, a JSON array",
        "JSON",
    ),
    "output_format": Option(
        ("--output-format",), ("DUO_WORKFLOW_OUTPUT_FORMAT",), "of the result: text or json"
    ),
    "connection_type": Option(
        ("--connection-type",), ("GITLAB_DUO_CONNECTION_TYPE",), "websocket or grpc"
    ),
    "model": Option(("--model",), ("GITLAB_DUO_MODEL",), "model to ask for, where one may choose"),
    "definition": Option(
        ("--workflow-type",), ("DUO_WORKFLOW_DEFINITION",), "kind of session (default: chat)"
    ),
    "flow_config": Option(
        ("--flow-config",), ("DUO_WORKFLOW_FLOW_CONFIG",), "an inline flow", "JSON"
    ),
    "flow_config_id": Option(("--flow-config-id",), ("DUO_WORKFLOW_FLOW_CONFIG_ID",), "its id"),
    "flow_config_schema_version": Option(
        ("--flow-config-schema-version",),
        ("DUO_WORKFLOW_FLOW_CONFIG_SCHEMA_VERSION",),
        "version of its schema",
    ),
    "flow_version": Option(("--flow-version",), ("DUO_WORKFLOW_FLOW_VERSION",), "its version"),
    "metadata": Option(
        ("--duo-workflow-metadata",), ("DUO_WORKFLOW_METADATA",), "of the client", "JSON"
    ),
    "service_server": Option(
        ("--duo-workflow-service-server",),
        ("DUO_WORKFLOW_SERVICE_SERVER",),
        "platform, for grpc",
        "HOST:PORT",
    ),
    "service_token": Option(
        ("--duo-workflow-service-token",), ("DUO_WORKFLOW_SERVICE_TOKEN",), "its token"
    ),
    "insecure": Option(("--insecure",), ("DUO_WORKFLOW_INSECURE",), "true: grpc without TLS"),
    "base_url": Option(
        ("--gitlab-base-url",), ("GITLAB_BASE_URL", "GITLAB_URL"), "the instance", "URL"
    ),
    "auth_token": Option(
        ("--gitlab-auth-token",), ("GITLAB_TOKEN", "GITLAB_OAUTH_TOKEN"), "its token"
    ),
    "project_path": Option(("--gitlab-project-path",), ("GITLAB_PROJECT_PATH",), "of the session"),
    "project_id": Option(
        ("--duo-workflow-project-id",), ("DUO_WORKFLOW_PROJECT_ID",), "of the session", "ID"
    ),
    "namespace_id": Option(
        ("--duo-workflow-namespace-id",),
        ("DUO_WORKFLOW_NAMESPACE_ID",),
        "its topmost namespace",
        "ID",
    ),
    "langsmith_trace": Option(("--langsmith-trace",), ("LANGSMITH_TRACE",), "trace to join"),
}

VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "realm": ("DUO_WORKFLOW_SERVICE_REALM",),
    "global_user_id": ("DUO_WORKFLOW_GLOBAL_USER_ID",),
    "instance_id": ("DUO_WORKFLOW_INSTANCE_ID",),
    "version": ("AGENT_PLATFORM_GITLAB_VERSION",),
    "feature": ("AGENT_PLATFORM_FEATURE_SETTING_NAME",),
    "model_metadata": ("AGENT_PLATFORM_MODEL_METADATA",),
    "auto_approve": ("DUO_AUTO_APPROVE",),
    "tracking": ("DUO_SESSION_TRACKING_ENABLED",),
    "git_base_url": ("DUO_WORKFLOW_GIT_HTTP_BASE_URL",),
    "git_user": ("DUO_WORKFLOW_GIT_HTTP_USER",),
    "git_password": ("DUO_WORKFLOW_GIT_HTTP_PASSWORD", "GIT_PASSWORD"),
}
"""What a job tells by variables alone."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Every option and variable of a run as text, empty when it was not given."""

    goal: str = ""
    workflow_id: str = ""
    approval: str = ""
    rejection_reason: str = ""
    context: str = ""
    output_format: str = ""
    connection_type: str = ""
    model: str = ""
    definition: str = ""
    flow_config: str = ""
    flow_config_id: str = ""
    flow_config_schema_version: str = ""
    flow_version: str = ""
    metadata: str = ""
    service_server: str = ""
    insecure: str = ""
    base_url: str = ""
    project_path: str = ""
    project_id: str = ""
    namespace_id: str = ""
    langsmith_trace: str = ""
    realm: str = ""
    global_user_id: str = ""
    instance_id: str = ""
    version: str = ""
    feature: str = ""
    model_metadata: str = ""
    auto_approve: str = ""
    tracking: str = ""
    git_base_url: str = ""
    git_user: str = ""
    service_token: str = field(default="", repr=False)
    auth_token: str = field(default="", repr=False)
    git_password: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return tuple(filter(None, (self.service_token, self.auth_token, self.git_password)))


def is_job(environment: Mapping[str, str]) -> bool:
    """Whether this process was started as the job of a session."""
    return bool(environment.get(HEADLESS))


def wanted(given: Mapping[str, str | None], environment: Mapping[str, str]) -> Wanted:
    """Flags that were given, then variables."""
    named = {name: option.variables for name, option in OPTIONS.items()} | dict(VARIABLES)
    texts = {
        name: given.get(name)
        or next((environment[v] for v in named[name] if environment.get(v)), "")
        for name in (one.name for one in fields(Wanted))
    }
    return Wanted(**(texts | {"base_url": texts["base_url"].rstrip("/")}))


def is_on(text: str, *, default: bool) -> bool:
    """A switch's text; what is no switch counts as not given."""
    lowered = text.strip().lower()
    return lowered in _ON or (default and lowered not in _OFF)
