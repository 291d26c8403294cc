"""What another session was about, and what it did last."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from isthmus.core.errors import ToolRefused
from isthmus.platform import instance_api
from isthmus.platform.instance_text import at, checked, dumped
from isthmus.platform.listing import one_of
from isthmus.platform.tool import Client, Tool

ENTRIES = 20
CHARS = 300
ROUTE = "/api/v4/ai/duo_workflows/workflows"


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    session_id: Annotated[int, Meta(description="Number of the session.", ge=1)]


async def run(args: Args, client: Client) -> str:
    """Status, title and the last entries of its log, as JSON."""
    route = f"{ROUTE}/{args.session_id}"
    record = await one_of(client, route)
    reply = checked(await instance_api.request(client, "GET", f"{route}/checkpoints?per_page=1"))
    log: list[Any] = at(reply.json(), "0.checkpoint.channel_values.ui_chat_log") or []
    told = {key: record.get(key) for key in ("id", "status", "title", "summary", "goal")}
    told["entries"] = [_short(entry) for entry in log[-ENTRIES:]]
    return dumped(told)


def _short(entry: Any) -> dict[str, Any]:
    try:
        said = msgspec.convert(entry, dict[str, Any])
    except msgspec.ValidationError as error:
        raise ToolRefused("The session's log cannot be read.") from error
    shown = {"type": said.get("message_type"), "content": str(said.get("content") or "")[:CHARS]}
    if (response := at(said, "tool_info.tool_response")) is not None:
        shown["response"] = str(response)[:CHARS]
    return shown


TOOL = Tool(
    name="get_session_context",
    description="Read what another session of the same user was about, and what it did last.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Read session {args.session_id}",
    version="0.1.0",
)
