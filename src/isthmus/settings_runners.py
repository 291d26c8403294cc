"""The branch of the settings tree for runners: where sessions without a person run."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from isthmus.settings_group import NONE, Group


class SubprocessRunner(Group):
    """Jobs as processes of this machine; logs and working copies stand in `data_dir`/jobs."""

    source: str = Field(
        default="",
        description="Repository that each job clones; `{project}` stands for the project's path.",
    )
    directory: Path | None = Field(
        default=None, description="Directory in which every job works, instead of a clone."
    )
    concurrency: int = Field(default=4, ge=1, le=256, description="Jobs at once.")
    keep: int = Field(default=50, ge=1, description="Finished jobs whose files are kept.")
    clone_s: float = Field(default=300.0, gt=0, description="Limit of a clone.")
    stop_s: float = Field(
        default=10.0, gt=0, description="Wait for a job to stop before it is killed."
    )


class KubernetesRunner(Group):
    """Jobs of a Kubernetes cluster. Empty values are those of the pod that we run in."""

    url: str = Field(default="", description="The API server.")
    token: SecretStr = Field(default=NONE, description="Token of a service account.")
    token_file: Path | None = Field(default=None, description="File that holds the token.")
    ca_file: Path | None = Field(default=None, description="Certificate of the API server, PEM.")
    kubeconfig: Path | None = Field(
        default=None, description="File that names the server, the token and the certificate."
    )
    namespace: str = Field(default="default", description="Namespace of the jobs.")
    image: str = Field(
        default="isthmus:latest", description="Image of a job that names none; holds `isthmus`."
    )
    source: str = Field(
        default="",
        description="Repository that each job clones with the session's token; `{project}` stands "
        "for the project's path.",
    )
    cpu: str = Field(default="1", description="Processors of a job.")
    memory: str = Field(default="2Gi", description="Memory of a job.")
    deadline_s: int = Field(default=7_200, ge=60, description="Longest run of a job.")
    keep_s: int = Field(default=3_600, ge=0, description="How long a finished job is kept.")
    call_s: float = Field(default=30.0, gt=0, description="Limit of one call of the API server.")


class GitlabCiRunner(Group):
    """Jobs as CI pipelines of a GitLab instance."""

    url: str = Field(default="", description="The GitLab instance.")
    token: SecretStr = Field(default=NONE, description="Token that may start pipelines there.")
    project: str = Field(default="", description="Project of the pipelines; empty: the session's.")
    ref: str = Field(default="", description="Branch of the pipelines; empty: the session's.")
    call_s: float = Field(default=30.0, gt=0, description="Limit of one call of the instance.")


class RunnersSettings(Group):
    """Where sessions without a person run."""

    kind: Literal["none", "subprocess", "kubernetes", "gitlab_ci"] = Field(
        default="subprocess",
        description="What runs them; `subprocess` lets members run commands on this machine.",
    )
    subprocess: SubprocessRunner = SubprocessRunner()
    kubernetes: KubernetesRunner = KubernetesRunner()
    gitlab_ci: GitlabCiRunner = GitlabCiRunner()

    @model_validator(mode="after")
    def _is_complete(self) -> "RunnersSettings":
        if self.kind == "gitlab_ci" and not (
            self.gitlab_ci.url and self.gitlab_ci.token.get_secret_value()
        ):
            raise ValueError("`kind` gitlab_ci needs `gitlab_ci.url` and `gitlab_ci.token`")
        if self.subprocess.source and self.subprocess.directory is not None:
            raise ValueError("`subprocess.source` and `subprocess.directory` exclude each other")
        return self
