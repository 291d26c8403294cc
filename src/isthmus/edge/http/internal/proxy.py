"""`POST /internal/proxy/{provider}/...`: the provider proxy where GitLab's first clients look."""

from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.v1.proxy import proxied
from isthmus.edge.services import Services


def routes(services: Services) -> list[Endpoint]:
    """The routes of `/v1/proxy`, once more."""
    return proxied(services, "/internal/proxy")
