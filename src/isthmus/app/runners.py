"""Chooses the runner of sessions without a person."""

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.runners import subprocess
from isthmus.adapters.runners.cluster import cluster_of
from isthmus.adapters.runners.kubernetes import KubernetesRunner
from isthmus.adapters.runners.none import NoRunner
from isthmus.core.ports import Clock, Runner
from isthmus.settings import Settings, SettingsError, environment


@asynccontextmanager
async def open_runner(settings: Settings, clock: Clock) -> AsyncIterator[Runner]:
    """The runner that is set. Raises SettingsError naming what is wrong."""
    wanted = settings.runners
    match wanted.kind:
        case "none":
            yield NoRunner()
        case "subprocess":
            given = environment()
            async with subprocess.open_runner(
                wanted.subprocess, settings.data_dir, given
            ) as runner:
                yield runner
        case "kubernetes":
            cluster = cluster_of(wanted.kubernetes)
            trust = {"ca_file": cluster.ca_file, "ca_only": cluster.ca_file is not None}
            async with open_client(settings.outbound.model_copy(update=trust), clock) as outbound:
                yield KubernetesRunner(wanted.kubernetes, cluster, outbound, clock)
        case "gitlab_ci":
            yield _gitlab_ci(settings)


def _gitlab_ci(settings: Settings) -> Runner:
    """Its library is an extra, and takes a while to load."""
    try:
        module = importlib.import_module("isthmus.adapters.runners.gitlab_ci")
    except ImportError as error:
        raise SettingsError("runners.kind: gitlab_ci needs isthmus[runners]") from error
    runner: Runner = module.GitlabCiRunner(settings.runners.gitlab_ci)
    return runner
