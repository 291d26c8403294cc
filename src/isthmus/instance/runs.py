"""Workflows that a runner carries out: begun, resumed, and not left running when they end."""

from isthmus.core.accounts import Member
from isthmus.core.errors import Failure, NotFound, Unavailable
from isthmus.core.workflow import StatusEvent, Workflow
from isthmus.instance.jobs import Extra
from isthmus.instance.launch import Launch
from isthmus.instance.workflows import Moved, Workflows


class Runs:
    """The owner's alone, as in Workflows. `launch` is None where no runner is set up."""

    def __init__(self, workflows: Workflows, launch: Launch | None) -> None:
        self._workflows = workflows
        self._launch = launch

    async def start(self, member: Member, workflow: Workflow, extra: Extra) -> Workflow:
        """Run a new record; one that cannot be run is given up, because nobody would carry it on.

        Raises what Launch raises, and Unavailable without one.
        """
        try:
            if self._launch is None:
                raise Unavailable("No runner is set up here.")
            await self._launch.start(member, workflow, extra)
        except Failure:
            await self._workflows.move(member, workflow.workflow_id, StatusEvent.DROP)
            raise
        return await self._workflows.own(member, workflow.workflow_id)

    async def resume(
        self, member: Member, workflow_id: str, *, approved: bool | None, message: str = ""
    ) -> Workflow:
        """Run it again with its owner's word, as Launch does. Raises NotFound, and as Launch."""
        workflow = await self._workflows.own(member, workflow_id)
        if self._launch is None:
            raise NotFound("404 Workflow Not Found")
        await self._launch.resume(member, workflow, approved=approved, message=message)
        return await self._workflows.own(member, workflow_id)

    async def move(self, member: Member, workflow_id: str, event: str) -> Moved:
        """As Workflows moves it; a stop ends its run as well. Raises NotFound, Rejected."""
        moved = await self._workflows.move(member, workflow_id, event)
        if event == StatusEvent.STOP:
            await self._halt(moved.workflow)
        return moved

    async def delete(self, member: Member, workflow_id: str) -> None:
        """Its run, which would act on without a record, and then the record. Raises NotFound."""
        await self._halt(await self._workflows.own(member, workflow_id))
        await self._workflows.delete(member, workflow_id)

    async def _halt(self, workflow: Workflow) -> None:
        if self._launch is not None:
            await self._launch.stop(workflow)
