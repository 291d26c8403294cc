"""Chooses the runner of sessions without a person."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.outbound.trust import customised, identified, papers
from isthmus.adapters.runners import subprocess
from isthmus.adapters.runners.cluster import cluster_of
from isthmus.adapters.runners.kubernetes import KubernetesRunner
from isthmus.adapters.runners.none import NoRunner
from isthmus.core.ports import Clock, Runner
from isthmus.settings import Settings, SettingsError, environment

_BUNDLE = "authorities.pem"


@asynccontextmanager
async def open_runner(settings: Settings, clock: Clock) -> AsyncIterator[Runner]:
    """The runner that is set. Raises SettingsError naming what is wrong."""
    wanted = settings.runners
    match wanted.kind:
        case "none":
            yield NoRunner()
        case "subprocess":
            given = await asyncio.to_thread(_trusting, settings)
            async with subprocess.open_runner(
                wanted.subprocess, settings.data_dir, given
            ) as runner:
                yield runner
        case "kubernetes":
            cluster = cluster_of(wanted.kubernetes)
            outbound = settings.outbound
            if cluster.ca_file is not None:
                trust = {"ca_file": cluster.ca_file, "ca_only": True}
                outbound = outbound.model_copy(update=trust)
            async with open_client(outbound, clock) as client:
                yield KubernetesRunner(wanted.kubernetes, cluster, client, clock)
        case "gitlab_ci":
            yield await asyncio.to_thread(_gitlab_ci, settings)


def _trusting(settings: Settings) -> dict[str, str]:
    """Our variables, and those by which jobs here, and their git, trust whom we trust."""
    limits, roots = settings.outbound, papers(settings.outbound).roots
    if limits.ca_file is None or roots is None:
        return environment()
    # Git knows one file, and no others beside it.
    bundle = settings.data_dir.absolute() / _BUNDLE
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_bytes(roots)
    return (
        {"GIT_SSL_CAINFO": str(bundle)}
        | environment()
        | {
            "ISTHMUS_OUTBOUND__CA_FILE": str(limits.ca_file.absolute()),
            "ISTHMUS_OUTBOUND__CA_ONLY": str(limits.ca_only).lower(),
        }
    )


def _gitlab_ci(settings: Settings) -> Runner:
    """Its library is an extra, and takes a while to load."""
    try:
        module = importlib.import_module("isthmus.adapters.runners.gitlab_ci")
    except ImportError as error:
        raise SettingsError("runners.kind: gitlab_ci needs isthmus[runners]") from error
    context = identified(settings.outbound) if customised(settings.outbound) else None
    runner: Runner = module.GitlabCiRunner(settings.runners.gitlab_ci, context)
    return runner
