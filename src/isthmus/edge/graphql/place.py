"""Fields of projects, namespaces and users."""

from collections.abc import Mapping
from typing import Final

from isthmus.core.accounts import Namespace, Project, User
from isthmus.edge.graphql.gid import gid
from isthmus.edge.graphql.inquiry import Ask, Resolver

PROJECT: Final[Mapping[str, Resolver[Project]]] = {
    "id": lambda project, _: gid("Project", project.id),
    "name": lambda project, _: project.name,
    "fullPath": lambda project, _: project.full_path,
    "description": lambda project, _: project.description,
    "httpUrlToRepo": lambda project, ask: f"{ask.inquiry.origin}/{project.full_path}.git",
    "webUrl": lambda project, ask: f"{ask.inquiry.origin}/{project.full_path}",
    "languages": lambda _project, _: (),
    "statisticsDetailsPaths": lambda project, _: {
        # Readers take the default branch from the end of this path.
        "repository": f"/{project.full_path}/-/tree/{project.default_branch}"
    },
    "duoContextExclusionSettings": lambda _project, _: {"exclusionRules": ()},
    "duoWorkflowStatusCheck": lambda _project, _: {
        "enabled": True,
        "foundationalFlowsEnabled": True,
        "enabledFoundationalFlows": None,
    },
    "namespace": lambda project, ask: ask.inquiry.namespace(project.namespace_id),
}

NAMESPACE: Final[Mapping[str, Resolver[Namespace]]] = {
    # Clients hand this id back where a group's is wanted, a user's own namespace included.
    "id": lambda namespace, _: gid("Group", namespace.id),
    "name": lambda namespace, _: namespace.name,
    "fullName": lambda namespace, _: _full_name(namespace),
    "fullPath": lambda namespace, _: namespace.full_path,
    "description": lambda _namespace, _: None,
    "webUrl": lambda namespace, ask: f"{ask.inquiry.origin}/{namespace.full_path}",
    "aiSettings": lambda _namespace, _: {"promptInjectionProtectionLevel": "LOG_ONLY"},
}


async def _preferences(user: User, ask: Ask) -> dict[str, object]:
    return {"duoDefaultNamespace": await ask.inquiry.namespace(user.namespace_id)}


def _full_name(namespace: Namespace) -> str:
    return " / ".join([*namespace.full_path.split("/")[:-1], namespace.name])


USER: Final[Mapping[str, Resolver[User]]] = {
    "id": lambda user, _: gid("User", user.id),
    "username": lambda user, _: user.username,
    "name": lambda user, _: user.name,
    "avatarUrl": lambda _user, _: None,
    "webUrl": lambda user, ask: f"{ask.inquiry.origin}/{user.username}",
    "userPreferences": _preferences,
}
