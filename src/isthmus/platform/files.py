"""Files of a repository, read through the instance.

Source: agent-platform contract, sections 8.4 and 8.10.
"""

from base64 import b64decode
from binascii import Error

from isthmus.core.errors import ToolRefused
from isthmus.platform.exclusion import REASON
from isthmus.platform.gitlab_args import ProjectArgs, project_path
from isthmus.platform.instance_text import query, segment
from isthmus.platform.listing import one_of
from isthmus.platform.places import place_of
from isthmus.platform.tool import Client

LINES = 2_000


async def text_of(project: str, file_path: str, ref: str | None, client: Client) -> str:
    """A text file whole; `project` is its project's route. Raises ToolRefused."""
    if client.exclusion.hides(file_path):
        raise ToolRefused(f"Access denied: {file_path!r} is {REASON}.")
    path = f"{project}/repository/files/{segment(file_path, 'file_path')}"
    found = await one_of(client, path + query({"ref": ref or "HEAD"}))
    try:
        return b64decode(str(found.get("content") or "")).decode()
    except (Error, UnicodeDecodeError) as error:
        raise ToolRefused(f"{file_path} is not a text file.") from error


async def window_of(
    args: ProjectArgs,
    file_path: str | None,
    ref: str | None,
    window: tuple[int | None, int | None],
    client: Client,
) -> str:
    """Lines of a file that arguments or a URL name; says so when there are more."""
    shown = place_of(args.url, client.host) if args.url else None
    path = file_path or (shown.file_path if shown else "")
    if not path:
        raise ToolRefused("`file_path` is missing: give it, or a `url` that names it.")
    at = ref or (shown.ref if shown else None) or None
    lines = (await text_of(project_path(args, client), path, at, client)).splitlines(keepends=True)
    first, most = window[0] or 0, window[1] or LINES
    cut = "".join(lines[first : first + most])
    if first + most < len(lines):
        cut += f"\n[Lines {first + 1} to {first + most} of {len(lines)}; raise `offset` to go on.]"
    return cut
