"""Runs jobs as pipelines of a GitLab instance.

Tokens travel as masked variables of the project, in an environment of the session's own; everything
else as variables of the pipeline. The project's CI file runs `ISTHMUS_COMMAND` in a job whose
`environment` is `isthmus/$DUO_WORKFLOW_WORKFLOW_ID` with `action: prepare`.
"""

import asyncio
import shlex
import ssl
from contextlib import suppress
from functools import partial
from typing import Any, Final

import gitlab
import requests
from gitlab.exceptions import GitlabCreateError, GitlabError
from requests.adapters import HTTPAdapter

from isthmus.core.errors import Rejected, Unavailable
from isthmus.core.job import RunnerJob, RunnerRef
from isthmus.settings_runners import GitlabCiRunner as Settings

COMMAND: Final = "ISTHMUS_COMMAND"
_REFUSALS: Final = frozenset({400, 401, 403, 404, 422})


class _Trusting(HTTPAdapter):
    """Its library would otherwise trust a bundle of its own, whatever the system says."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
        where, _ = super().build_connection_pool_key_attributes(*args, **kwargs)
        return where, {"ssl_context": self._context}

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """The context says it all."""


class GitlabCiRunner:
    """One instance. Its library blocks: every call is made in a thread."""

    def __init__(self, settings: Settings, trust: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        session = requests.Session()
        if trust is not None:
            session.mount("https://", _Trusting(trust))
        self._gitlab: Any = gitlab.Gitlab(
            settings.url,
            private_token=settings.token.get_secret_value(),
            timeout=settings.call_s,
            retry_transient_errors=False,
            session=session,
        )

    async def start(self, job: RunnerJob) -> RunnerRef:
        """Set the tokens, then create the pipeline. Raises Rejected, Unavailable."""
        return await asyncio.to_thread(_told, partial(self._started, job))

    async def stop(self, ref: RunnerRef) -> None:
        """Cancel the pipeline and remove its tokens."""
        await asyncio.to_thread(_told, partial(self._stopped, ref))

    def _started(self, job: RunnerJob) -> RunnerRef:
        name = self._settings.project or job.project
        if not name:
            raise Rejected("the session belongs to no project with pipelines")
        project = self._gitlab.projects.get(name, lazy=True)
        scope = _scope(job.workflow_id)
        self._forget(project, scope)
        try:
            for key in sorted(job.secrets & set(job.variables)):
                project.variables.create(
                    {
                        "key": key,
                        "value": job.variables[key],
                        "masked": True,
                        "raw": True,
                        "protected": False,
                        "environment_scope": scope,
                    }
                )
            ref = self._settings.ref or job.branch or "main"
            made = project.pipelines.create({"ref": ref, "variables": _plain(job)})
        except BaseException:
            with suppress(GitlabError, requests.RequestException):
                self._forget(project, scope)
            raise
        return RunnerRef(f"{name}#{made.id}#{job.workflow_id}", int(made.id), str(made.web_url))

    def _stopped(self, ref: RunnerRef) -> None:
        name, number, workflow_id = ref.id.rsplit("#", 2)
        project = self._gitlab.projects.get(name, lazy=True)
        try:
            project.pipelines.get(int(number), lazy=True).cancel()
        except GitlabError as error:
            if error.response_code != 404:
                raise
        self._forget(project, _scope(workflow_id))

    def _forget(self, project: Any, scope: str) -> None:
        for variable in project.variables.list(iterator=True):
            if variable.environment_scope == scope:
                project.variables.delete(variable.key, filter={"environment_scope": scope})


def _scope(workflow_id: str) -> str:
    return f"isthmus/{workflow_id}"


def _plain(job: RunnerJob) -> list[dict[str, str]]:
    """Variables that anybody who sees the pipeline may read."""
    plain = {key: value for key, value in job.variables.items() if key not in job.secrets}
    plain[COMMAND] = "isthmus executor --headless " + shlex.join(job.arguments)
    return [{"key": key, "value": value} for key, value in sorted(plain.items())]


def _told(call: "partial[Any]") -> Any:
    """The call's result; the library's errors become ours, without what they quote."""
    try:
        return call()
    except GitlabCreateError as error:
        if error.response_code in _REFUSALS:
            raise Rejected(f"the instance refuses the pipeline ({error.response_code})") from None
        raise Unavailable(f"the instance answered {error.response_code}") from None
    except GitlabError as error:
        raise Unavailable(f"the instance answered {error.response_code}") from None
    except requests.RequestException as error:
        raise Unavailable(f"the instance cannot be reached: {type(error).__name__}") from None
