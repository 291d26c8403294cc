"""Runs jobs in a Kubernetes cluster: a secret with the tokens, and a job that goes with it."""

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec

from isthmus.adapters.runners.cluster import Cluster
from isthmus.adapters.runners.manifest import job_manifest, owned, secret
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Failure, Rejected, Unavailable
from isthmus.core.job import RunnerJob, RunnerRef
from isthmus.core.messages import OutboundRequest
from isthmus.core.ports import Clock, Outbound
from isthmus.settings_runners import KubernetesRunner as Settings

ANSWER_BYTES: Final = 4 * 1024 * 1024
_JSON: Final = "application/json"
_MERGE: Final = "application/merge-patch+json"


class _Meta(msgspec.Struct, frozen=True):
    uid: str = ""


class _Made(msgspec.Struct, frozen=True):
    metadata: _Meta = _Meta()


class KubernetesRunner:
    """Asks one cluster. `outbound` trusts its certificate."""

    def __init__(
        self, settings: Settings, cluster: Cluster, outbound: Outbound, clock: Clock
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._outbound = outbound
        self._clock = clock
        self._core = f"/api/v1/namespaces/{settings.namespace}"
        self._batch = f"/apis/batch/v1/namespaces/{settings.namespace}"

    async def start(self, job: RunnerJob) -> RunnerRef:
        """Create the secret, then the job. Raises Rejected, Unavailable."""
        name = f"isthmus-{job.workflow_id}-{secrets.token_hex(4)}"
        await self._made(f"{self._core}/secrets", secret(name, job))
        try:
            manifest = job_manifest(name, job, self._settings)
            uid = await self._made(f"{self._batch}/jobs", manifest)
        except BaseException:
            with suppress(Failure):
                await self._call("DELETE", f"{self._core}/secrets/{name}")
            raise
        with suppress(Failure):
            await self._call("PATCH", f"{self._core}/secrets/{name}", owned(uid, name), _MERGE)
        return RunnerRef(name, int(job.workflow_id))

    async def stop(self, ref: RunnerRef) -> None:
        """Delete the job with its pod and its secret; the cluster gives it time to end."""
        policy: Mapping[str, object] = {"propagationPolicy": "Background"}
        for path in (f"{self._batch}/jobs/{ref.id}", f"{self._core}/secrets/{ref.id}"):
            status, _ = await self._call("DELETE", path, policy)
            if status not in {200, 202, 404}:
                raise Unavailable(f"the cluster answered {status}")

    async def _made(self, path: str, manifest: Mapping[str, object]) -> str:
        """Create a thing; its uid."""
        status, body = await self._call("POST", path, manifest)
        if status in {400, 403, 422}:
            raise Rejected(f"the cluster does not take the job ({status})")
        if status not in {200, 201, 202}:
            raise Unavailable(f"the cluster answered {status}")
        try:
            return msgspec.json.decode(body, type=_Made).metadata.uid
        except msgspec.DecodeError as error:
            raise Unavailable("the cluster's answer cannot be read") from error

    async def _call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, kind: str = _JSON
    ) -> tuple[int, bytes]:
        try:
            token = await asyncio.to_thread(self._cluster.token)
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable("the cluster's token cannot be read") from error
        headers = (
            ("authorization", f"Bearer {token}"),
            ("accept", _JSON),
            ("content-type", kind),
        )
        data = b"" if body is None else msgspec.json.encode(body)
        request = OutboundRequest(method, self._cluster.url + path, headers, data)
        limit_s = self._settings.call_s
        deadline = Deadline(self._clock.now_s() + limit_s, first_byte_s=limit_s)
        try:
            async with self._outbound.open(request, deadline) as reply:
                return reply.status, await reply.read(ANSWER_BYTES)
        except Failure as error:
            raise Unavailable("the cluster cannot be reached") from error
