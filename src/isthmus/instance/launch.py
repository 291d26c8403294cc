"""Starts, resumes and stops sessions that run without a person, through a runner.

Source: instance contract, sections 2.5 (job path), 2.6 and 2.7.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from isthmus.core.accounts import FLOW_SCOPES, Member, Place, TokenKind
from isthmus.core.errors import NotFound, Rejected
from isthmus.core.job import RunnerJob, RunnerRef
from isthmus.core.ports import Runner, WorkflowStore
from isthmus.core.workflow import Workflow
from isthmus.instance import jobs
from isthmus.instance.accounts import Accounts, Wish
from isthmus.instance.broker import Broker
from isthmus.instance.jobs import Decision, Extra, JobOrder, JobTokens, Site
from isthmus.instance.metadata import JOB_FEATURE, ModelMetadata, Wanted
from isthmus.instance.places import Places

TOKEN_S: Final = 7_200.0
"""How long a job may act."""

Mint: TypeAlias = Callable[[Member, Place, str], Awaitable[JobTokens]]
"""Tokens for a member, a place and a workflow definition."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What launching needs. `site` is where jobs find us."""

    runner: Runner
    workflows: WorkflowStore
    places: Places
    metadata: ModelMetadata
    mint: Mint
    site: Site


class Launch:
    """Whoever calls has checked that the workflow is the member's own."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def start(self, member: Member, workflow: Workflow, extra: Extra) -> RunnerRef:
        """Run a new workflow. Raises Rejected, Unavailable."""
        place = await self._place(workflow)
        if place.project is None:
            raise Rejected("Can not execute workflow in CI")
        model = await self._parts.metadata.resolved(member, place, Wanted(JOB_FEATURE))
        order = JobOrder(workflow, member.user, place, self._parts.site, model, extra)
        tokens = await self._parts.mint(member, place, workflow.definition)
        given = jobs.variables(order, tokens)
        return await self._run(workflow, place, given, jobs.arguments(workflow.workflow_id))

    async def resume(
        self, member: Member, workflow: Workflow, *, approved: bool | None, message: str = ""
    ) -> RunnerRef:
        """Run it again from where it waits, with the person's word. Raises Rejected, Unavailable.

        Where nothing is to be decided `approved` is None, and the message is the person's words, or
        empty to go on from the last step. The model is the stored one where the flag is on, by the
        text that is stored.
        """
        place = await self._place(workflow)
        wanted = Wanted(JOB_FEATURE)
        model = await self._parts.metadata.text(member, place, wanted, workflow)
        order = JobOrder(workflow, member.user, place, self._parts.site, model)
        tokens = await self._parts.mint(member, place, workflow.definition)
        given = jobs.resumed(order, tokens, jobs.last(workflow).variables)
        if approved is None:
            given["DUO_WORKFLOW_GOAL"] = message[: jobs.GOAL_CHARS]
        decision = None if approved is None else Decision(approved, message)
        words = jobs.arguments(workflow.workflow_id, decision)
        return await self._run(workflow, place, given, words)

    async def stop(self, workflow: Workflow) -> None:
        """Stop its last run, when it has one."""
        await stop(self._parts.runner, workflow)

    async def _place(self, workflow: Workflow) -> Place:
        place = await self._parts.places.of(workflow)
        if place is None:
            raise NotFound("404 Workflow Not Found")
        return place

    async def _run(
        self, workflow: Workflow, place: Place, given: dict[str, str], words: tuple[str, ...]
    ) -> RunnerRef:
        job = RunnerJob(
            workflow_id=workflow.workflow_id,
            variables=given,
            secrets=jobs.SECRETS,
            arguments=words,
            project=place.project.full_path if place.project else "",
            branch=workflow.terms.source_branch,
            image=workflow.terms.image,
        )
        ref = await self._parts.runner.start(job)
        text = jobs.kept(ref, given)
        store = self._parts.workflows
        try:
            await store.change(workflow.workflow_id, lambda found: replace(found, job=text))
        except BaseException:
            # A run that nobody remembers could never be stopped.
            await self._parts.runner.stop(ref)
            raise
        return ref


async def stop(runner: Runner, workflow: Workflow) -> None:
    """Stop the last run of a workflow, when it has one."""
    ref = jobs.last(workflow).ref
    if ref is not None:
        await runner.stop(ref)


def minting(accounts: Accounts, broker: Broker) -> Mint:
    """Tokens as the instance hands them out, for two hours."""

    async def mint(member: Member, place: Place, definition: str) -> JobTokens:
        wish = Wish(TokenKind.FLOW, FLOW_SCOPES, TOKEN_S, name="job")
        flow = await accounts.mint(member.user, wish)
        service = await broker.platform(member, place, definition)
        return JobTokens(flow.text, service.token)

    return mint
