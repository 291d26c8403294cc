"""Jobs of sessions without a person: their variables, their command, and what is kept of them."""

import json
import shlex
from dataclasses import replace

import pytest

from isthmus.core.accounts import Member, Namespace, Place, Project, Token, TokenKind, User
from isthmus.core.errors import Conflict, Rejected, Unavailable
from isthmus.core.job import RunnerJob, RunnerRef
from isthmus.core.workflow import NewWorkflow, Terms, Workflow
from isthmus.instance import jobs
from isthmus.instance.broker import Identity, Reach
from isthmus.instance.jobs import Decision, Extra, JobOrder, JobTokens, Site
from isthmus.instance.launch import Launch, Parts
from isthmus.instance.metadata import ModelMetadata, Wanted
from isthmus.instance.places import Places
from tests.support.memory_store import NOW, MemoryWorkflows

NAMES = """
GIT_DEPTH GIT_FETCH_EXTRA_FLAGS GIT_LFS_SKIP_SMUDGE GIT_TERMINAL_PROMPT GIT_CONFIG_NOSYSTEM
GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0 GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL
GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL GIT_PASSWORD DUO_WORKFLOW_BASE_PATH DUO_WORKFLOW_DEFINITION
DUO_WORKFLOW_GOAL DUO_WORKFLOW_WORKFLOW_ID DUO_WORKFLOW_SOURCE_BRANCH DUO_WORKFLOW_FLOW_CONFIG
DUO_WORKFLOW_FLOW_CONFIG_ID DUO_WORKFLOW_FLOW_CONFIG_SCHEMA_VERSION DUO_WORKFLOW_FLOW_VERSION
DUO_WORKFLOW_ADDITIONAL_CONTEXT_CONTENT DUO_WORKFLOW_SERVICE_SERVER DUO_WORKFLOW_SERVICE_TOKEN
DUO_WORKFLOW_SERVICE_REALM DUO_WORKFLOW_GLOBAL_USER_ID DUO_WORKFLOW_INSTANCE_ID
DUO_WORKFLOW_INSECURE DUO_WORKFLOW_DEBUG LOG_LEVEL DUO_WORKFLOW_GIT_HTTP_BASE_URL
DUO_WORKFLOW_GIT_HTTP_USER DUO_WORKFLOW_GIT_HTTP_PASSWORD DUO_WORKFLOW_GIT_USER_EMAIL
DUO_WORKFLOW_GIT_USER_NAME DUO_WORKFLOW_GIT_AUTHOR_EMAIL DUO_WORKFLOW_GIT_AUTHOR_USER_NAME
DUO_WORKFLOW_METADATA DUO_WORKFLOW_PROJECT_ID DUO_WORKFLOW_NAMESPACE_ID
AGENT_PLATFORM_GITLAB_VERSION AGENT_PLATFORM_MODEL_METADATA AGENT_PLATFORM_FEATURE_SETTING_NAME
GITLAB_BASE_URL GITLAB_PROJECT_PATH GITLAB_OAUTH_TOKEN GITLAB_TOKEN GLAB_IS_OAUTH2 GLAB_CHECK_UPDATE
GITLAB_ENABLE_GLOBAL_SKILLS DUO_SESSION_TRACKING_ENABLED LANGSMITH_TRACE NPM_CONFIG_CACHE
GITLAB_LSP_STORAGE_DIR TMPDIR GITLAB_WORKFLOW_SANDBOX
"""
MODEL = '{"name":"claude_sonnet_4_5_vertex","provider":"gitlab"}'
RESOLVED = '{"provider":"gitlab","feature_setting":"duo_agent_platform"}'
TOKENS = JobTokens("flow-token", "service-token")
USER = User(3, "ada", "Ada", "ada@example.test", "g-3", 10, NOW)
MEMBER = Member(
    USER, Token(1, TokenKind.PERSONAL, 3, frozenset({"api"}), "", "", NOW, None, None, {})
)
GROUP = Namespace(10, "group", "Group", "group", 10)
PROJECT = Project(20, "app", "App", "group/app", 10, 10, default_branch="trunk")
PLACE = Place(GROUP, PROJECT)
SITE = Site(
    "https://isthmus.example.test",
    Identity("uuid-1", "isthmus.example.test", "19.0.0-ee", "self-managed"),
    Reach(platform_port=50052, platform_secure=True),
)


async def workflow(store: MemoryWorkflows, terms: Terms | None = None) -> Workflow:
    new = NewWorkflow("developer/v1", "fix the tests", "g-3", "42", terms=terms or Terms())
    return await store.create(new)


async def order(place: Place = PLACE, model: str = MODEL, extra: Extra | None = None) -> JobOrder:
    made = await workflow(MemoryWorkflows())
    return JobOrder(made, USER, place, SITE, model, extra or Extra())


class Fixed(ModelMetadata):
    """Resolves to one text; with `sticky`, hands out what the workflow stored."""

    def __init__(self, *, sticky: bool) -> None:
        self._sticky = sticky

    async def resolved(self, member: Member, place: Place, wanted: Wanted) -> str:
        assert (member, wanted.feature) == (MEMBER, "duo_agent_platform")
        del place
        return RESOLVED

    async def text(
        self, member: Member, place: Place, wanted: Wanted, workflow: Workflow | None
    ) -> str:
        if self._sticky and workflow is not None and workflow.model:
            return workflow.model
        return await self.resolved(member, place, wanted)


class Kept:
    """A runner that keeps what it was given."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.jobs: list[RunnerJob] = []
        self.stopped: list[str] = []
        self._failure = failure

    async def start(self, job: RunnerJob) -> RunnerRef:
        if self._failure is not None:
            raise self._failure
        self.jobs.append(job)
        return RunnerRef(f"run-{len(self.jobs)}", len(self.jobs), "https://runner.example.test/1")

    async def stop(self, ref: RunnerRef) -> None:
        self.stopped.append(ref.id)


async def mint(member: Member, place: Place, definition: str) -> JobTokens:
    assert (member, definition) == (MEMBER, "developer/v1")
    del place
    return TOKENS


class Here(Places):
    """Everything is at one place."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def of(self, workflow: Workflow) -> Place | None:
        del workflow
        return self._place


def launch(
    store: MemoryWorkflows, runner: Kept, *, sticky: bool = False, place: Place = PLACE
) -> Launch:
    return Launch(Parts(runner, store, Here(place), Fixed(sticky=sticky), mint, SITE))


async def test_i7_25_a_start_has_every_variable_of_the_contract_and_names_its_secrets() -> None:
    given = jobs.variables(await order(), TOKENS)
    assert set(NAMES.split()) <= set(given)
    assert set(given) - set(NAMES.split()) <= {
        f"GIT_CONFIG_{part}_{number}" for part in ("KEY", "VALUE") for number in range(1, 4)
    }
    secret = {name for name, text in given.items() if text in {"flow-token", "service-token"}}
    assert secret == jobs.SECRETS
    assert given["AGENT_PLATFORM_MODEL_METADATA"] == MODEL
    assert given["DUO_WORKFLOW_SERVICE_SERVER"] == "isthmus.example.test:50052"
    assert given["DUO_WORKFLOW_INSECURE"] == "false"
    assert json.loads(given["DUO_WORKFLOW_METADATA"])["modelMetadata"] == json.loads(MODEL)
    assert "token" not in repr(TOKENS).replace("JobTokens", "").lower()
    assert all("\0" not in text for text in given.values())


async def test_a_start_tells_of_the_session_and_lets_nobody_speak_in_its_name() -> None:
    forged = {"Category": jobs.STANDARD_CONTEXT, "Content": "{}"}
    own = {"Category": "issue", "Content": '{"id":1}'}
    extra = Extra(context=(forged, own), trigger='{"event_type":"mention"}', shallow=False)
    given = jobs.variables(await order(extra=extra), TOKENS)
    entries = json.loads(given["DUO_WORKFLOW_ADDITIONAL_CONTEXT_CONTENT"])
    categories = [entry["Category"] for entry in entries]
    assert categories == [jobs.STANDARD_CONTEXT, jobs.TRIGGER_CONTEXT, "issue"]
    assert json.loads(entries[0]["Content"]) == {
        "workload_branch": "trunk",
        "primary_branch": "trunk",
        "session_owner_id": "3",
        "service_account_name": "ada",
    }
    assert entries[0]["Metadata"] == '{"version":"1.0.0"}'
    assert "GIT_DEPTH" not in given


async def test_a_namespaces_workflow_checks_nothing_out() -> None:
    given = jobs.variables(await order(place=Place(GROUP)), TOKENS)
    assert given["GIT_STRATEGY"] == "none"
    assert (given["DUO_WORKFLOW_PROJECT_ID"], given["GITLAB_PROJECT_PATH"]) == ("", "")
    assert given["DUO_WORKFLOW_NAMESPACE_ID"] == "10"


async def test_i7_24_a_resume_keeps_variables_but_for_tokens_and_escapes_its_reason() -> None:
    before = {
        "DUO_WORKFLOW_SOURCE_BRANCH": "topic",
        "AGENT_PLATFORM_MODEL_METADATA": "before",
        "GITLAB_TOKEN": "old",
        "DUO_WORKFLOW_GOAL": "an old goal",
        "GIT_CONFIG_COUNT": "99",
        "SET_BY_HAND": "1",
    }
    again = jobs.resumed(await order(model=""), TOKENS, before)
    assert again["DUO_WORKFLOW_SOURCE_BRANCH"] == "topic"
    assert again["SET_BY_HAND"] == "1"
    assert again["AGENT_PLATFORM_MODEL_METADATA"] == "before"
    assert again["GIT_CONFIG_COUNT"] == "4"
    assert again["DUO_WORKFLOW_GOAL"] == "fix the tests"
    assert {again[name] for name in jobs.SECRETS} == {"flow-token", "service-token"}
    reason = 'no; use $HOME\'s `ls` "please"\n'
    words = jobs.arguments("42", Decision(approved=False, message=reason))
    line = jobs.command(words)
    assert line.startswith("isthmus executor --headless --existing-session-id 42 ")
    assert "--approval false" in line
    assert shlex.split(line)[-2:] == ["--rejection-reason", reason]
    assert "--approval" not in jobs.arguments("42")
    assert jobs.arguments("42", Decision(approved=True))[-2:] == ("--approval", "true")


@pytest.mark.parametrize("place", [PLACE, Place(GROUP)], ids=["project", "namespace"])
@pytest.mark.parametrize(("sticky", "told"), [(True, MODEL), (False, RESOLVED)])
async def test_i7_23_a_resume_uses_the_stored_model_where_the_flag_is_on(
    place: Place, *, sticky: bool, told: str
) -> None:
    store, runner = MemoryWorkflows(), Kept()
    stored = replace(await workflow(store), model=MODEL)
    launcher = launch(store, runner, sticky=sticky, place=place)
    await launcher.resume(MEMBER, stored, approved=True)
    assert runner.jobs[0].variables["AGENT_PLATFORM_MODEL_METADATA"] == told


async def test_a_start_runs_and_is_remembered_without_its_secrets() -> None:
    store, runner = MemoryWorkflows(), Kept()
    made = await workflow(store, Terms(source_branch="topic", image="ci:1"))
    launcher = launch(store, runner, sticky=True)
    told = await launcher.start(MEMBER, made, Extra())
    assert (told.number, told.url) == (1, "https://runner.example.test/1")
    (job,) = runner.jobs
    assert (job.project, job.branch, job.image) == ("group/app", "topic", "ci:1")
    assert job.secrets == jobs.SECRETS
    assert job.variables["AGENT_PLATFORM_MODEL_METADATA"] == RESOLVED
    kept = await store.get("42")
    assert "-token" not in kept.job
    assert jobs.last(kept).variables["DUO_WORKFLOW_SOURCE_BRANCH"] == "topic"
    await launcher.resume(MEMBER, kept, approved=False, message="no")
    assert runner.jobs[1].arguments[-4:] == ("--approval", "false", "--rejection-reason", "no")
    await launcher.stop(await store.get("42"))
    await launcher.stop(made)
    assert runner.stopped == ["run-2"]


async def test_a_run_that_cannot_start_or_be_remembered_leaves_nothing_behind() -> None:
    store = MemoryWorkflows()
    made = await workflow(store)
    with pytest.raises(Unavailable):
        await launch(store, Kept(Unavailable("full"))).start(MEMBER, made, Extra())
    assert (await store.get("42")).job == ""
    with pytest.raises(Rejected, match="Can not execute workflow in CI"):
        await launch(store, Kept(), place=Place(GROUP)).start(MEMBER, made, Extra())
    runner = Kept()
    gone = replace(made, workflow_id="43")
    with pytest.raises(Exception, match="no such"):
        await launch(store, runner).start(MEMBER, gone, Extra())
    assert runner.stopped == ["run-1"]


def test_what_is_kept_is_bounded() -> None:
    text = jobs.kept(RunnerRef("r", 1), {"A": "x" * 60_000, "B": "y" * 50_000, "C": "z"})
    assert len(text) <= jobs.KEPT_BYTES
    assert set(json.loads(text)["variables"]) == {"B", "C"}


async def test_an_unreadable_job_is_a_conflict() -> None:
    broken = replace(await workflow(MemoryWorkflows()), job="{")
    with pytest.raises(Conflict):
        jobs.last(broken)
