"""Which models a client may offer its user. Source: instance contract, section 4.1."""

from collections.abc import Mapping
from dataclasses import dataclass

from isthmus.core.errors import NotFound, Unavailable
from isthmus.routing.define import DRAWN, Definitions, FeatureDefinition, ModelDefinition
from isthmus.routing.models import SEVERAL_DEFAULTS, Models


@dataclass(frozen=True, slots=True)
class Offered:
    """A model to pick: what a person reads, and the reference that comes back."""

    name: str
    ref: str
    provider: str = ""
    description: str = ""
    cost: str = ""

    @property
    def drawn(self) -> bool:
        """Whether it stands for whichever of the feature's defaults a session gets."""
        return self.ref.startswith(DRAWN)


@dataclass(frozen=True, slots=True)
class Offer:
    """The default, the ones to choose from, and the one that is fixed."""

    default: Offered | None
    selectable: tuple[Offered, ...] = ()
    pinned: Offered | None = None


class Discovery:
    """Reads the catalogue. `pinned` names the model of features that leave no choice."""

    def __init__(self, models: Models, pinned: Mapping[str, str] | None = None) -> None:
        self._models = models
        self._pinned = dict(pinned or {})
        # Catalogue and settings are fixed: there are no more offers than features.
        self._offers: dict[str, Offer] = {}
        self._defined: Definitions | None = None

    def offer(self, feature: str) -> Offer:
        """What there is for a feature; nothing for one that nobody knows."""
        if feature in self._offers:
            return self._offers[feature]
        if self._defined is None:
            self._defined = self._models.definitions((SEVERAL_DEFAULTS,))
        known = self._defined.unit_primitives
        found = next((each for each in known if each.feature_setting == feature), None)
        if found is None:
            return Offer(None)
        offer = self._offers[feature] = self._made(found, self._defined)
        return offer

    def _made(self, feature: FeatureDefinition, defined: Definitions) -> Offer:
        models = {model.identifier: _offered(model) for model in defined.models}
        default = models.get(self._default(feature))
        listed = [models[ref] for ref in feature.selectable_models if self._serves(feature, ref)]
        if default is not None and default not in listed:
            listed.insert(0, default)
        pinned = models.get(self._pinned.get(feature.feature_setting, ""))
        return Offer(default, tuple(listed), pinned)

    def _default(self, feature: FeatureDefinition) -> str:
        """The reference of the default that sessions get here; nothing when none can serve."""
        try:
            chosen = self._models.choose(feature.feature_setting).id
        except Unavailable:
            return ""
        drawn = feature.default_model.startswith(DRAWN) and chosen in feature.default_models
        return feature.default_model if drawn else chosen

    def _serves(self, feature: FeatureDefinition, ref: str) -> bool:
        if ref.startswith(DRAWN):
            return self._default(feature) == ref
        try:
            self._models.choose(feature.feature_setting, ref)
        except (NotFound, Unavailable):
            return False
        return True


def _offered(model: ModelDefinition) -> Offered:
    return Offered(
        name=model.name,
        ref=model.identifier,
        provider=model.provider or "",
        description=model.description or "",
        cost=model.cost_indicator or "",
    )
