"""Where a Kubernetes API server is, and as whom it is asked: settings, a kubeconfig, or our pod."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import yaml

from isthmus.settings import SettingsError
from isthmus.settings_runners import KubernetesRunner

POD: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SERVER: Final = "https://kubernetes.default.svc"


class _Cluster(msgspec.Struct, rename="kebab"):
    server: str
    certificate_authority: str = ""
    certificate_authority_data: str = ""


class _User(msgspec.Struct):
    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: _Cluster


class _NamedUser(msgspec.Struct):
    name: str
    user: _User


class _Context(msgspec.Struct):
    cluster: str
    user: str


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context


class _Config(msgspec.Struct, rename="kebab"):
    current_context: str
    clusters: list[_NamedCluster]
    users: list[_NamedUser]
    contexts: list[_NamedContext]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The server, the certificate that it is trusted by, and where the token comes from."""

    url: str
    ca_file: Path | None
    token_file: Path | None
    fixed: str = field(repr=False, default="")

    def token(self) -> str:
        """The token now: those of pods change every hour. Reads a file. Raises OSError."""
        if self.fixed or self.token_file is None:
            return self.fixed
        return self.token_file.read_text(encoding="ascii").strip()


def cluster_of(settings: KubernetesRunner) -> Cluster:
    """What the settings mean. Reads files. Raises SettingsError."""
    found = _read(settings.kubeconfig) if settings.kubeconfig is not None else None
    pod = None if found or settings.url else POD
    base = found or Cluster(SERVER, pod and pod / "ca.crt", pod and pod / "token")
    fixed = settings.token.get_secret_value()
    return Cluster(
        (settings.url or base.url).rstrip("/"),
        settings.ca_file or base.ca_file,
        settings.token_file or base.token_file,
        fixed or ("" if settings.token_file else base.fixed),
    )


def _read(path: Path) -> Cluster:
    try:
        raw: object = yaml.safe_load(path.read_text(encoding="utf-8"))
        config = msgspec.convert(raw, _Config)
        context = {one.name: one.context for one in config.contexts}[config.current_context]
        cluster = {one.name: one.cluster for one in config.clusters}[context.cluster]
        user = {one.name: one.user for one in config.users}[context.user]
    except (OSError, ValueError, KeyError, yaml.YAMLError, RecursionError) as error:
        raise SettingsError("runners.kubernetes.kubeconfig: cannot be read") from error
    if cluster.certificate_authority_data and not cluster.certificate_authority:
        raise SettingsError(
            "runners.kubernetes.kubeconfig: holds its certificate inside; write it to a file and "
            "set runners.kubernetes.ca_file"
        )
    ca_file = path.parent / cluster.certificate_authority if cluster.certificate_authority else None
    token_file = path.parent / user.token_file if user.token_file else None
    return Cluster(cluster.server, ca_file, token_file, user.token)
