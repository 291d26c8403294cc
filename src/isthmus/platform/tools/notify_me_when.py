"""Has the client begin another turn of this session later."""

from datetime import timedelta
from typing import Annotated, Literal
from uuid import uuid4

from msgspec import Meta, Struct

from isthmus.contract.contract_pb2 import Action, ScheduleNotification
from isthmus.core.errors import ToolRefused
from isthmus.platform.instance_text import dumped
from isthmus.platform.tool import Client, Tool


class When(Struct, frozen=True, forbid_unknown_fields=True):
    """A time from now."""

    type: Annotated[Literal["timer"], Meta(description="The kind of condition.")]
    delay_minutes: Annotated[int, Meta(description="Minutes from now.", ge=1, le=1440)]


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    when: Annotated[When, Meta(description="When the turn is to begin.")]
    message: Annotated[
        str,
        Meta(description="What you are told then.", min_length=1, max_length=4_000),
    ]


async def run(args: Args, client: Client) -> str:
    """When it will be. Raises ToolRefused when the client does not take it."""
    at = client.utc() + timedelta(minutes=args.when.delay_minutes)
    deadline = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    action = ScheduleNotification(
        task_id=str(uuid4()),
        condition=dumped({"type": "timer", "deadline": deadline}),
        message=args.message,
    )
    reply = await client.ask(Action(scheduleNotification=action))
    said = reply.scheduleNotificationResponse
    if reply.WhichOneof("response_type") == "scheduleNotificationResponse" and not said.accepted:
        raise ToolRefused(f"The client did not take it: {said.reason[:500]}")
    return f"You will be told at {said.fires_at or deadline}. You may end your turn now."


TOOL = Tool(
    name="notify_me_when",
    description=(
        "Have another turn of this session begin later, with a message to yourself: to wait for a "
        "pipeline, a review or a release without staying awake."
    ),
    args=Args,
    run=run,
    effect="notify",
    title=lambda args: f"Wake up in {args.when.delay_minutes} minutes",
    trust="internal",
    capability="schedule_notification",
    version="0.1.0",
)
