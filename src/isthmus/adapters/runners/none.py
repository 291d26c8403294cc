"""No runner: sessions run beside a person alone."""

from isthmus.core.errors import Rejected
from isthmus.core.job import RunnerJob, RunnerRef


class NoRunner:
    """Starts nothing."""

    async def start(self, job: RunnerJob) -> RunnerRef:
        """Raises Rejected."""
        del job
        raise Rejected("Can not execute workflow in CI: no runner is configured.")

    async def stop(self, ref: RunnerRef) -> None:
        """There is nothing to stop."""
        del ref
