"""The models that we ship, as if some providers had credentials."""

from functools import cache

from isthmus.app.library import LIBRARY
from isthmus.core.ports import Clock
from isthmus.routing.catalogue import Catalogue, parse_catalogue
from isthmus.routing.models import Models
from isthmus.settings import ModelsSettings, OpenAISettings, OutboundSettings
from tests.support.http_app import ScriptedUpstream
from tests.support.sink import MemorySink

PROVIDERS = ("anthropic", "vertex")


def library_models(clock: Clock, *providers: str) -> Models:
    """Every model; calls go nowhere. Without `providers`, those of PROVIDERS are configured."""
    upstreams = {name: ScriptedUpstream(name, (), ()) for name in providers or PROVIDERS}
    return Models(upstreams, library_catalogue(), OutboundSettings(), MemorySink(), clock)


@cache
def library_catalogue() -> Catalogue:
    """Read from its file once."""
    data = (LIBRARY / "models.yml").read_bytes()
    return parse_catalogue(data, ModelsSettings(), OpenAISettings())
