"""The deployment at which a session's model is asked: where its conversation is in a cache."""


class Home:
    """Where a session is at home. `kept` is what its record says, "" where it says nothing."""

    def __init__(self, kept: str) -> None:
        self.deployment = self.kept = kept

    def moved(self, deployment: str) -> None:
        """It is served elsewhere from now on."""
        self.deployment = deployment
