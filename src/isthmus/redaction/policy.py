"""Which mode holds for what goes where: by feature and destination, as the settings say."""

from msgspec import Struct

from isthmus.core.messages import Destination
from isthmus.redaction.automaton import BadPattern
from isthmus.redaction.rules import SHIPPED, Rule, Rules, load, shipped
from isthmus.settings import SettingsError
from isthmus.settings_redaction import Mode, RedactionOverride, RedactionSettings

KEPT = 4_096


class Modes(Struct, frozen=True, gc=False):
    """The modes of one destination."""

    prompt: Mode
    tool_result: Mode
    answer: Mode


_OFF = Modes("off", "off", "off")


class Policy:
    """The settings' modes; what was asked once is remembered."""

    def __init__(self, settings: RedactionSettings) -> None:
        self._general = Modes(settings.prompt, settings.tool_result, settings.answer)
        self._overrides = [(one, self._laid(one)) for one in settings.overrides]
        self._known: dict[Destination, Modes | None] = {}

    @property
    def looks(self) -> bool:
        """Whether anything is looked at, anywhere."""
        return any(one != _OFF for one in (self._general, *(m for _, m in self._overrides)))

    def modes(self, destination: Destination) -> Modes | None:
        """What holds for a destination; None when nothing is looked at."""
        try:
            return self._known[destination]
        except KeyError:
            if len(self._known) >= KEPT:
                self._known.clear()
        fitting = (modes for one, modes in self._overrides if _fits(one, destination))
        found = next(fitting, self._general)
        self._known[destination] = None if found == _OFF else found
        return self._known[destination]

    def _laid(self, one: RedactionOverride) -> Modes:
        general = self._general
        return Modes(
            one.prompt or general.prompt,
            one.tool_result or general.tool_result,
            one.answer or general.answer,
        )


def rules_of(settings: RedactionSettings) -> Rules:
    """The shipped rules with the operator's additions and exceptions. Raises SettingsError."""
    if not (settings.rules or settings.disabled or settings.allow or settings.exceptions):
        return shipped()
    own = [Rule(**rule.model_dump()) for rule in settings.rules]
    shapes = load(SHIPPED, own, settings.allow, settings.exceptions)
    for name, named in (("disabled", settings.disabled), ("exceptions", settings.exceptions)):
        if unknown := set(named) - {shape.name for shape in shapes}:
            raise SettingsError(f"redaction.{name}: there is no rule {min(unknown)!r}")
    used = [shape for shape in shapes if shape.name not in settings.disabled]
    for shape in used:
        try:
            shape.check()
        except BadPattern as error:
            raise SettingsError(f"redaction: rule {shape.name!r}: {error}") from error
    return Rules(used)


def _fits(one: RedactionOverride, destination: Destination) -> bool:
    places = ("", destination.provider, destination.deployment)
    return one.feature in ("", destination.feature) and one.destination in places
