"""One behaviour of every runner: what is started can be stopped, and no token shows."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from pydantic import SecretStr, ValidationError

from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.runners.cluster import cluster_of
from isthmus.adapters.runners.gitlab_ci import GitlabCiRunner
from isthmus.adapters.runners.kubernetes import KubernetesRunner
from isthmus.adapters.runners.manifest import job_manifest, secret
from isthmus.adapters.runners.none import NoRunner
from isthmus.adapters.runners.subprocess import SubprocessRunner, open_runner
from isthmus.app.foundation import SystemClock as RealClock
from isthmus.core.errors import Rejected, Unavailable
from isthmus.core.job import RunnerJob, RunnerRef
from isthmus.core.ports import Runner
from isthmus.settings import OutboundSettings, SettingsError
from isthmus.settings_runners import (
    GitlabCiRunner as GitlabCiSettings,
)
from isthmus.settings_runners import (
    KubernetesRunner as KubernetesSettings,
)
from isthmus.settings_runners import RunnersSettings
from isthmus.settings_runners import (
    SubprocessRunner as SubprocessSettings,
)
from tests.contract.runners.replay import FarEnd, far_end

TOKEN = "flow-token-1234567890"
KINDS = ["subprocess", "kubernetes", "gitlab_ci"]


def job(**variables: str) -> RunnerJob:
    """A job that waits for a server that is not there."""
    plain = {
        "DUO_WORKFLOW_WORKFLOW_ID": "42",
        "DUO_WORKFLOW_GOAL": "fix 'it'; please",
        "GITLAB_BASE_URL": "http://127.0.0.1:9",
    }
    return RunnerJob(
        workflow_id="42",
        variables=plain | {"GITLAB_TOKEN": TOKEN} | variables,
        secrets=frozenset({"GITLAB_TOKEN", "GIT_PASSWORD"}),
        arguments=("--approval", "false", "--rejection-reason", "it's no good; $HOME"),
        project="group/app",
        branch="topic",
    )


@dataclass
class Stand:
    """A runner, and how to see what it started."""

    runner: Runner
    far: FarEnd
    folder: Path

    def shown(self) -> str:
        """Everything that others could see: argument lists, logs, plain variables."""
        logs = [path.read_text() for path in self.folder.rglob("log.txt")]
        lines = [
            Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            for pid in _children(self.folder)
        ]
        jobs = [str(body) for body in self.far.of("POST", "/jobs")]
        pipelines = [str(body) for body in self.far.of("POST", "/pipeline")]
        paths = [path for _, path, _, _ in self.far.asked]
        return "\n".join((*logs, *lines, *jobs, *pipelines, *paths))


def _children(folder: Path) -> list[str]:
    """Processes whose working directory is a job's."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                here = os.readlink(entry / "cwd")
            except OSError:
                continue
            if here.startswith(str(folder)):
                found.append(entry.name)
    return found


@asynccontextmanager
async def standing(kind: str, folder: Path) -> AsyncIterator[Stand]:
    async with AsyncExitStack() as stack:
        far = stack.enter_context(far_end())
        if kind == "subprocess":
            settings = SubprocessSettings(concurrency=1, stop_s=5)
            environment = dict(os.environ) | {"SECRET_OF_THE_SERVER": "x"}
            opened = open_runner(settings, folder, environment)
            runner: Runner = await stack.enter_async_context(opened)
        elif kind == "kubernetes":
            settings = KubernetesSettings(
                url=far.url, token=SecretStr("cluster-token"), namespace="agents"
            )
            client = await stack.enter_async_context(open_client(OutboundSettings(), RealClock()))
            runner = KubernetesRunner(settings, cluster_of(settings), client, RealClock())
        else:
            settings = GitlabCiSettings(url=far.url, token=SecretStr("pipeline-token"))
            runner = GitlabCiRunner(settings)
        yield Stand(runner, far, folder)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_job_starts_shows_no_token_and_stops(kind: str, tmp_path: Path) -> None:
    async with standing(kind, tmp_path) as stand:
        ref = await stand.runner.start(job())
        assert ref.id
        assert ref.number > 0
        assert TOKEN not in await asyncio.to_thread(stand.shown)
        assert TOKEN not in repr(ref)
        await stand.runner.stop(ref)
        await stand.runner.stop(ref)
        assert await asyncio.to_thread(_children, tmp_path) == []
        left = {path for path in stand.far.things if not path.startswith("pipelines")}
        assert left == set()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_never_ran_may_be_stopped(kind: str, tmp_path: Path) -> None:
    async with standing(kind, tmp_path) as stand:
        name = {"subprocess": f"{os.getpid()}:1:x", "gitlab_ci": "group/app#9#42"}.get(kind, "x")
        await stand.runner.stop(RunnerRef(name, 1))


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("kubernetes", ("POST", "/jobs")),
        ("kubernetes", ("POST", "/secrets")),
        ("gitlab_ci", ("POST", "/pipeline")),
        ("gitlab_ci", ("POST", "/variables")),
    ],
)
@pytest.mark.parametrize(("status", "failure"), [(403, Rejected), (503, Unavailable)])
async def test_a_far_end_that_refuses_keeps_no_token(
    kind: str,
    place: tuple[str, str],
    status: int,
    failure: type[Exception],
    tmp_path: Path,
) -> None:
    async with standing(kind, tmp_path) as stand:
        stand.far.refuse[place] = status
        with pytest.raises(failure) as caught:
            await stand.runner.start(job())
        assert TOKEN not in str(caught.value)
        assert stand.far.things == {}


@pytest.mark.parametrize("kind", ["kubernetes", "gitlab_ci"])
async def test_a_far_end_that_is_gone_is_unavailable(kind: str, tmp_path: Path) -> None:
    async with standing(kind, tmp_path) as stand:
        pass
    async with open_client(OutboundSettings(), RealClock()) as client:
        runner = stand.runner
        if kind == "kubernetes":
            settings = KubernetesSettings(url=stand.far.url, token=SecretStr("t"))
            runner = KubernetesRunner(settings, cluster_of(settings), client, RealClock())
        with pytest.raises(Unavailable):
            await runner.start(job())


async def test_no_runner_starts_nothing() -> None:
    with pytest.raises(Rejected, match="Can not execute workflow in CI"):
        await NoRunner().start(job())
    await NoRunner().stop(RunnerRef("x", 1))


async def test_only_so_many_jobs_run_at_once_and_know_little_of_the_server(tmp_path: Path) -> None:
    async with standing("subprocess", tmp_path) as stand:
        ref = await stand.runner.start(job())
        with pytest.raises(Unavailable, match="as many jobs"):
            await stand.runner.start(job())
        given = Path(f"/proc/{ref.number}/environ")
        told = (await asyncio.to_thread(given.read_bytes)).decode()
        assert "SECRET_OF_THE_SERVER" not in told
        assert f"GITLAB_TOKEN={TOKEN}" in told
        await stand.runner.stop(ref)
        again = await stand.runner.start(job())
        await stand.runner.stop(again)


async def test_a_job_outlives_its_server_and_is_stopped_by_the_next(tmp_path: Path) -> None:
    async with standing("subprocess", tmp_path) as first:
        ref = await first.runner.start(job())
    assert await asyncio.to_thread(_children, tmp_path) != []
    assert isinstance(first.runner, SubprocessRunner)
    await first.runner.stop(ref)
    async with standing("subprocess", tmp_path) as second:
        await second.runner.stop(ref)
    assert await asyncio.to_thread(_children, tmp_path) == []


async def test_a_job_works_in_a_clone_of_its_own(tmp_path: Path) -> None:
    origin = tmp_path / "repos" / "group" / "app"
    await asyncio.to_thread(_repository, origin)
    settings = SubprocessSettings(source=f"{tmp_path}/repos/{{project}}")
    async with open_runner(settings, tmp_path / "data", dict(os.environ)) as runner:
        ref = await runner.start(job())
        work = next((tmp_path / "data" / "jobs").glob("42-*/work"))
        assert (work / "topic.txt").read_text() == "x"
        await runner.stop(ref)
        for bad in ("../../etc", "a/../b", "-x", ""):
            with pytest.raises(Rejected):
                await runner.start(replace(job(), project=bad))
        with pytest.raises(Rejected):
            await runner.start(replace(job(), branch="--upload-pack=id"))
        with pytest.raises(Unavailable, match="working copy"):
            await runner.start(replace(job(), project="group/none"))


def _repository(folder: Path) -> None:
    folder.mkdir(parents=True)
    git: Callable[..., Any] = lambda *words: subprocess.run(  # noqa: E731
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.test", *words],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    git("init", "-q")
    git("checkout", "-q", "-b", "topic")
    (folder / "topic.txt").write_text("x")
    git("add", "-A")
    git("commit", "-qm", "first")


async def test_old_jobs_are_removed(tmp_path: Path) -> None:
    settings = SubprocessSettings(keep=1)
    async with open_runner(settings, tmp_path, dict(os.environ)) as runner:
        for _ in range(3):
            ref = await runner.start(job())
            await runner.stop(ref)
    assert len(list((tmp_path / "jobs").iterdir())) <= 2


@pytest.mark.parametrize("source", ["", "https://git.example.test/{project}.git"])
@pytest.mark.parametrize("version", ["1.29", "1.34"])
def test_manifests_fit_the_clusters_schema(source: str, version: str) -> None:
    settings = KubernetesSettings(source=source)
    for manifest in (job_manifest("isthmus-42-ab", job(), settings), secret("n", job())):
        kubernetes_validate.validate(manifest, version, strict=True)
    made = job_manifest("isthmus-42-ab", job(), settings)
    assert TOKEN not in str(made)
    assert secret("n", job())["stringData"] == {"GITLAB_TOKEN": TOKEN}
    spec = made["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["containers"][0]["args"] == list(job().arguments)


async def test_a_clusters_secret_goes_with_its_job(tmp_path: Path) -> None:
    async with standing("kubernetes", tmp_path) as stand:
        ref = await stand.runner.start(job())
        (patch,) = stand.far.of("PATCH", "/secrets")
        assert patch["metadata"]["ownerReferences"][0]["uid"] == f"uid-{ref.id}"
        assert {asked[3]["authorization"] for asked in stand.far.asked} == {"Bearer cluster-token"}
        assert all("/namespaces/agents/" in asked[1] for asked in stand.far.asked)


async def test_a_pipelines_tokens_are_masked_and_only_its_own(tmp_path: Path) -> None:
    async with standing("gitlab_ci", tmp_path) as stand:
        await stand.runner.start(job())
        (made,) = stand.far.of("POST", "/variables")
        (pipeline,) = stand.far.of("POST", "/pipeline")
    assert made["masked"] is True
    assert made["environment_scope"] == "isthmus/42"
    assert pipeline["ref"] == "topic"
    plain = {one["key"]: one["value"] for one in pipeline["variables"]}
    assert "GITLAB_TOKEN" not in plain
    assert plain["ISTHMUS_COMMAND"].endswith("""--rejection-reason 'it'"'"'s no good; $HOME'""")


def test_a_kubeconfig_names_server_token_and_certificate(tmp_path: Path) -> None:
    path = tmp_path / "config"
    text = (
        "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
        "clusters: [{name: k, cluster: {server: 'https://k.example.test:6443', CA}}]\n"
        "users: [{name: u, user: {token: hunter2}}]\n"
    )
    path.write_text(text.replace("CA", "certificate-authority: ca.crt"))
    cluster = cluster_of(KubernetesSettings(kubeconfig=path))
    assert (cluster.url, cluster.token()) == ("https://k.example.test:6443", "hunter2")
    assert cluster.ca_file == tmp_path / "ca.crt"
    assert "hunter2" not in repr(cluster)
    path.write_text(text.replace("CA", "certificate-authority-data: eA=="))
    with pytest.raises(SettingsError, match="ca_file"):
        cluster_of(KubernetesSettings(kubeconfig=path))
    path.write_text("[]")
    with pytest.raises(SettingsError, match="kubeconfig"):
        cluster_of(KubernetesSettings(kubeconfig=path))
    pod = cluster_of(KubernetesSettings())
    assert pod.url == "https://kubernetes.default.svc"
    assert pod.token_file is not None


def test_settings_of_a_runner_must_be_complete() -> None:
    for bad in ({"kind": "gitlab_ci"}, {"subprocess": {"source": "x", "directory": "."}}):
        with pytest.raises(ValidationError):
            RunnersSettings.model_validate(bad)
