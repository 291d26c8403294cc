"""Several files of a repository, read through the instance."""

import asyncio
from typing import Annotated

from msgspec import Meta

from isthmus.core.errors import ToolRefused
from isthmus.platform import files
from isthmus.platform.exclusion import REASON
from isthmus.platform.gitlab_args import ProjectArgs, project_path
from isthmus.platform.instance_text import dumped
from isthmus.platform.tool import Client, Tool

AT_ONCE = 4
MAX_CHARS = 1024 * 1024
"""Of all files together: a model is shown far less."""
TOO_MUCH = "not read: the files before it are large enough"


class Args(ProjectArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments."""

    file_paths: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(description="Paths of the files in the repository.", min_length=1, max_length=100),
    ]
    ref: Annotated[
        str | None,
        Meta(description="Branch, tag or commit; the default branch when left out."),
    ] = None
    per_page: Annotated[
        Annotated[int, Meta(ge=1, le=50)] | None,
        Meta(description="How many of the files to read; the others are named."),
    ] = 20


async def run(args: Args, client: Client) -> str:
    """A JSON object: path to content, or to why it was not read."""
    project, gate = project_path(args, client), asyncio.Semaphore(AT_ONCE)
    most = args.per_page or len(args.file_paths)

    room = MAX_CHARS

    async def read(path: str) -> dict[str, str]:
        nonlocal room
        if client.exclusion.hides(path):
            return {"error": REASON}
        async with gate:
            if room <= 0:
                return {"error": TOO_MUCH}
            try:
                text = await files.text_of(project, path, args.ref, client)
            except ToolRefused as refusal:
                return {"error": refusal.detail}
            room -= len(text)
            return {"content": text}

    wanted = args.file_paths[:most]
    found = await asyncio.gather(*map(read, wanted))
    told: dict[str, object] = dict(zip(wanted, found, strict=True))
    if left := args.file_paths[most:]:
        told["not_read"] = left
    return dumped(told)


TOOL = Tool(
    name="get_repository_files",
    description="Read several files of a project's repository through the instance.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Read {len(args.file_paths)} files of the repository",
    cleaning="none",
)
