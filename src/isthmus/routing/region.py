"""Where a call would be served, and whether that is where it may be. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

IN_PROCESS = frozenset({"local", "scripted"})
"""Providers whose models run in this process: nothing leaves."""
PROFILES = frozenset({"global", "us", "us-gov", "eu", "apac", "jp", "au", "ca"})
"""What the name of a model at Bedrock begins with when calls to it are spread over regions."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Regions that may serve; none: any. `homes` are the regions of providers, as they are set.

    A region is a name, or the beginning of names with `*` after it.
    """

    regions: tuple[str, ...] = ()
    homes: Mapping[str, str] | None = None

    def covers(self, provider: str, region: str, upstream: str) -> bool:
        """Whether a place is inside, as far as it is known to be."""
        if not self.regions or provider in IN_PROCESS:
            return True
        places = tuple(self._places(provider, region, upstream))
        return bool(places) and all(self._inside(place) for place in places)

    def _places(self, provider: str, region: str, upstream: str) -> Iterator[str]:
        """Every name of where it is; nothing when that is not known."""
        home = region or (self.homes or {}).get(provider, "")
        if home:
            yield home
        profile, dot, _ = upstream.partition(".")
        if provider == "bedrock" and dot and profile in PROFILES:
            yield profile

    def _inside(self, place: str) -> bool:
        return any(
            place.startswith(each[:-1]) if each.endswith("*") else place == each
            for each in self.regions
        )


ANYWHERE = Bounds()
