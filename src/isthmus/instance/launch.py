"""Starts, resumes and stops sessions that run without a person, through a runner.

Source: instance contract, sections 2.5 (job path), 2.6 and 2.7.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from isthmus.core.accounts import FLOW_SCOPES, Member, Place, TokenKind
from isthmus.core.errors import Rejected
from isthmus.core.job import RunnerJob, RunnerRef
from isthmus.core.ports import Runner, WorkflowStore
from isthmus.core.workflow import Workflow
from isthmus.instance import jobs
from isthmus.instance.accounts import Accounts, Wish
from isthmus.instance.broker import Broker
from isthmus.instance.jobs import Decision, Extra, JobOrder, JobTokens, Site
from isthmus.instance.metadata import JOB_FEATURE, ModelMetadata, Wanted

TOKEN_S: Final = 7_200.0
"""How long a job may act."""

Mint: TypeAlias = Callable[[Member, Place, str], Awaitable[JobTokens]]
"""Tokens for a member, a place and a workflow definition."""


@dataclass(frozen=True, slots=True)
class Launched:
    """What is started, for whom, and where: `site` is where the job finds us."""

    member: Member
    workflow: Workflow
    place: Place
    site: Site


class Launch:
    """Whoever calls has checked that the workflow is the member's own."""

    def __init__(
        self, runner: Runner, store: WorkflowStore, mint: Mint, metadata: ModelMetadata
    ) -> None:
        self._runner = runner
        self._store = store
        self._mint = mint
        self._metadata = metadata

    async def start(self, what: Launched, extra: Extra | None = None) -> RunnerRef:
        """Run a new workflow. Raises Rejected, Unavailable."""
        if what.place.project is None:
            raise Rejected("Can not execute workflow in CI")
        wanted = Wanted(JOB_FEATURE)
        model = await self._metadata.resolved(what.member, what.place, wanted)
        order = _order(what, model, extra or Extra())
        tokens = await self._mint(what.member, what.place, what.workflow.definition)
        words = jobs.arguments(what.workflow.workflow_id)
        return await self._run(what, jobs.variables(order, tokens), words)

    async def resume(self, what: Launched, decision: Decision) -> RunnerRef:
        """Run it again from where it waits, with the person's word. Raises Rejected, Unavailable.

        The model is the stored one where the flag is on, by the text that is stored.
        """
        workflow = what.workflow
        wanted = Wanted(JOB_FEATURE)
        model = await self._metadata.text(what.member, what.place, wanted, workflow)
        order = _order(what, model, Extra())
        tokens = await self._mint(what.member, what.place, workflow.definition)
        before = jobs.last(workflow).variables
        given = jobs.resumed(order, tokens, before, decision)
        return await self._run(what, given, jobs.arguments(workflow.workflow_id, decision))

    async def stop(self, workflow: Workflow) -> None:
        """Stop its last run, when it has one."""
        ref = jobs.last(workflow).ref
        if ref is not None:
            await self._runner.stop(ref)

    async def _run(
        self, what: Launched, given: dict[str, str], words: tuple[str, ...]
    ) -> RunnerRef:
        workflow = what.workflow
        job = RunnerJob(
            workflow_id=workflow.workflow_id,
            variables=given,
            secrets=jobs.SECRETS,
            arguments=words,
            project=what.place.project.full_path if what.place.project else "",
            branch=workflow.terms.source_branch,
            image=workflow.terms.image,
        )
        ref = await self._runner.start(job)
        text = jobs.kept(ref, given)
        try:
            await self._store.change(workflow.workflow_id, lambda found: replace(found, job=text))
        except BaseException:
            # A run that nobody remembers could never be stopped.
            await self._runner.stop(ref)
            raise
        return ref


def minting(accounts: Accounts, broker: Broker) -> Mint:
    """Tokens as the instance hands them out, for two hours."""

    async def mint(member: Member, place: Place, definition: str) -> JobTokens:
        wish = Wish(TokenKind.FLOW, FLOW_SCOPES, TOKEN_S, name="job")
        flow = await accounts.mint(member.user, wish)
        service = await broker.platform(member, place, definition)
        return JobTokens(flow.text, service.token)

    return mint


def _order(what: Launched, model: str, extra: Extra) -> JobOrder:
    return JobOrder(what.workflow, what.member.user, what.place, what.site, model, extra)
