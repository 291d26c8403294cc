"""Which models a client may offer its user. Source: instance contract, section 4.1."""

from dataclasses import dataclass

from isthmus.routing.models import Models


@dataclass(frozen=True, slots=True)
class Offered:
    """A model to pick: what a person reads, and the reference that comes back."""

    name: str
    ref: str
    provider: str = ""
    description: str = ""
    cost: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """The default, the ones to choose from, and the one that is fixed."""

    default: Offered | None
    selectable: tuple[Offered, ...] = ()
    pinned: Offered | None = None


class Discovery:
    """Reads the catalogue."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def offer(self, feature: str) -> Offer:
        """What there is for a feature; nothing for one that nobody knows."""
        raise NotImplementedError
