"""Arguments that tools of the instance have in common, and the places that they name."""

from typing import Annotated, Any

from msgspec import Meta, Struct, structs

from isthmus.platform.instance_text import segment
from isthmus.platform.places import Wanted, resolve
from isthmus.platform.tool import Client

Url = Annotated[
    str | None,
    Meta(description="Address of the page on the instance; ids may be given instead."),
]
Project = Annotated[
    int | str | None,
    Meta(description="The project's number, or its full path such as `group/project`."),
]


class ProjectArgs(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A project, by address or id."""

    url: Url = None
    project_id: Project = None


class MergeRequestArgs(ProjectArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A merge request, by address or by project and number."""

    merge_request_iid: Annotated[
        int | None, Meta(description="Number of the merge request within its project.")
    ] = None


class NumberedMergeRequestArgs(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A merge request by numbers alone."""

    project_id: Annotated[int, Meta(description="The project's number.")]
    merge_request_iid: Annotated[
        int, Meta(description="Number of the merge request within its project.")
    ]

    @property
    def path(self) -> str:
        """Its route."""
        return f"/api/v4/projects/{self.project_id}/merge_requests/{self.merge_request_iid}"


def named(args: Struct, client: Client, *items: str, project: bool = True) -> dict[str, str]:
    """What the arguments name, as texts. Raises ToolRefused when something is missing."""
    given: dict[str, Any] = structs.asdict(args)
    return resolve(Wanted(project=project, items=items), given, client.host)


def project_path(args: Struct, client: Client) -> str:
    """The route of the project that the arguments name. Raises ToolRefused."""
    return f"/api/v4/projects/{segment(named(args, client)['project'], 'project_id')}"


def merge_request_path(args: Struct, client: Client) -> str:
    """The route of the merge request that the arguments name. Raises ToolRefused."""
    found = named(args, client, "merge_request_iid")
    project = segment(found["project"], "project_id")
    return f"/api/v4/projects/{project}/merge_requests/{found['merge_request_iid']}"
