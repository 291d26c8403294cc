"""Who asks, from where and with what, in the words that the portal and the collector share; pure.

Source: HTTP gateway contract, sections 2.9, 2.10 and 10.6.
"""

from isthmus.auth.authenticate import root_namespace_id as number
from isthmus.core.identity import Caller, ClientInfo

SOURCE = "ai-gateway-python"
"""What the portal and the collector know a gateway by."""
TEXT_LIMIT_CHARS = 256

_TEXTS = {
    "instance_id": "x-gitlab-instance-id",
    "instance_version": "x-gitlab-version",
    "host_name": "x-gitlab-host-name",
    "user_id": "x-gitlab-user-id",
    "user_type": "x-gitlab-subject-type",
    "deployment_type": "x-gitlab-deployment-type",
    "feature_enablement_type": "x-gitlab-feature-enablement-type",
}
_NUMBERS = {
    "project_id": "x-gitlab-project-id",
    "namespace_id": "x-gitlab-namespace-id",
    "organization_id": "x-gitlab-organization-id",
}


def describe(
    caller: Caller, client: ClientInfo, environment: str, request_id: str
) -> dict[str, str | int | None]:
    """Field -> value, None where it is not known. Ids that are not numbers count as not known."""
    said = client.headers
    claim = caller.extra.get("gitlab_root_namespace_id") if caller.realm == "saas" else None
    fields: dict[str, str | int | None] = {
        "environment": environment,
        "source": SOURCE,
        "realm": caller.realm or _text(said.get("x-gitlab-realm")),
        "unique_instance_id": _text(caller.instance_uid),
        "global_user_id": _text(caller.global_user_id),
        "root_namespace_id": number(claim) or number(said.get("x-gitlab-root-namespace-id")),
        "correlation_id": _text(request_id),
    }
    fields |= {name: _text(said.get(header)) for name, header in _TEXTS.items()}
    return fields | {name: number(said.get(header)) for name, header in _NUMBERS.items()}


def numbers(text: str, limit: int = 100) -> tuple[int, ...]:
    """The ids in a list with commas, at most `limit`; what is not one is left out."""
    found = (number(part.strip()) for part in text.split(",", limit)[:limit])
    return tuple(each for each in found if each is not None)


def _text(value: str | None) -> str | None:
    return value[:TEXT_LIMIT_CHARS] if value else None
