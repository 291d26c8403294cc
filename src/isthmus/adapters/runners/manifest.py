"""A job of a Kubernetes cluster, and the secret with its tokens, as data. Pure."""

import re
from typing import Any, Final, TypeAlias

from isthmus.core.job import RunnerJob
from isthmus.settings_runners import KubernetesRunner

Manifest: TypeAlias = dict[str, Any]

LABELS: Final = {"app.kubernetes.io/name": "isthmus", "app.kubernetes.io/component": "job"}
WORKFLOW_LABEL: Final = "isthmus/workflow"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORK: Final = "/work"
_TMP: Final = "/tmp"  # noqa: S108 - a volume of the pod, empty and its own
_HOME: Final = {"name": "HOME", "value": _TMP}
_LOGIN: Final = '!f() { echo username=oauth; echo "password=$GIT_PASSWORD"; }; f'
"""The token comes from the secret and stands in no argument."""


def secret(name: str, job: RunnerJob) -> Manifest:
    """The job's secret variables."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _named(name, job),
        "type": "Opaque",
        "stringData": {key: job.variables[key] for key in sorted(job.secrets & set(job.variables))},
    }


def owned(uid: str, name: str) -> Manifest:
    """What makes the secret go with its job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid}
    return {"metadata": {"ownerReferences": [owner]}}


def job_manifest(name: str, job: RunnerJob, settings: KubernetesRunner) -> Manifest:
    """The job: one try, no rights of its own, and no token but those that it is given."""
    pod: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": _checkout(name, job, settings),
        "containers": [_container(name, job, settings)],
        "volumes": [{"name": "work", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _named(name, job),
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": settings.deadline_s,
            "ttlSecondsAfterFinished": settings.keep_s,
            "template": {"metadata": {"labels": _labels(job)}, "spec": pod},
        },
    }


def _container(name: str, job: RunnerJob, settings: KubernetesRunner) -> Manifest:
    limits = {"cpu": settings.cpu, "memory": settings.memory}
    plain = sorted(set(job.variables) - job.secrets)
    return {
        "name": "executor",
        "image": job.image or settings.image,
        "command": ["isthmus", "executor", "--headless", "--workspace", _WORK],
        "args": list(job.arguments),
        # Not the working copy: its files are no settings of ours.
        "workingDir": _TMP,
        "env": [
            _HOME,
            *(
                {"name": key, "value": job.variables[key]}
                for key in plain
                if _VARIABLE.fullmatch(key)
            ),
        ],
        "envFrom": [{"secretRef": {"name": name}}],
        "resources": {"limits": limits, "requests": limits},
        **_confined(),
    }


def _checkout(name: str, job: RunnerJob, settings: KubernetesRunner) -> list[Manifest]:
    """A clone of the project into the working copy, where a source is set."""
    if not settings.source:
        return []
    branch = ["--branch", job.branch] if job.branch else []
    url = settings.source.replace("{project}", job.project)
    return [
        {
            "name": "checkout",
            "image": job.image or settings.image,
            "command": ["git", "-c", f"credential.helper={_LOGIN}", "clone", "--quiet", *branch],
            "args": ["--", url, _WORK],
            "env": [_HOME],
            "envFrom": [{"secretRef": {"name": name}}],
            **_confined(),
        }
    ]


def _confined() -> Manifest:
    return {
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "work", "mountPath": _WORK},
            {"name": "tmp", "mountPath": _TMP},
        ],
    }


def _named(name: str, job: RunnerJob) -> Manifest:
    return {"name": name, "labels": _labels(job)}


def _labels(job: RunnerJob) -> dict[str, str]:
    return {**LABELS, WORKFLOW_LABEL: job.workflow_id}
