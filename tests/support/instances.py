"""GitLab instances as a gateway sees them: issuers on real ports, each with a key of its own."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.tokens import jwk_of, private_key, signed

GATEWAY = "gitlab-ai-gateway"
PLATFORM = "gitlab-duo-workflow-service"
SCOPES = (
    *("complete_code", "duo_chat", "duo_agent_platform", "generate_commit_message"),
    *("ai_gateway_model_provider_proxy", "generate_embeddings_codebase"),
)


@dataclass
class GitLab:
    """An instance; `asked` are the paths of its issuer that were fetched."""

    name: str
    url: str = ""
    asked: list[str] = field(default_factory=list[str])

    @property
    def kid(self) -> str:
        return f"key-of-{self.name}"

    def token(self, audience: str = GATEWAY, **changes: object) -> str:
        """A token for an hour, signed by this instance's key; a change to None removes a claim."""
        now_s = int(time.time())
        claims: dict[str, object] = {
            "iss": self.url,
            "sub": self.name,
            "aud": audience,
            "iat": now_s,
            "exp": now_s + 3600,
            "gitlab_realm": "self-managed",
            "gitlab_instance_id": self.name,
            "scopes": list(SCOPES),
        }
        kept = {key: value for key, value in (claims | changes).items() if value is not None}
        return signed(kept, private_key(self.name), {"alg": "RS256", "kid": self.kid})

    def headers(self, token: str = "", **changes: str) -> dict[str, str]:
        """What the instance sends with a call; names with underscores."""
        headers = {
            "authorization": f"Bearer {token or self.token()}",
            "x-gitlab-authentication-type": "oidc",
            "x-gitlab-realm": "self-managed",
            "x-gitlab-instance-id": self.name,
            "x-gitlab-global-user-id": "user-1",
        }
        return headers | {name.replace("_", "-"): value for name, value in changes.items()}


@contextmanager
def gitlab(name: str) -> Iterator[GitLab]:
    """An instance whose issuer answers on a free port for as long as the context lasts."""
    one = GitLab(name)
    # Made before anybody asks: two threads at once would make two of them.
    key = jwk_of(private_key(name), one.kid)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            one.asked.append(self.path)
            body = {
                "/.well-known/openid-configuration": {"jwks_uri": f"{one.url}/keys"},
                "/keys": {"keys": [key]},
            }.get(self.path)
            data = json.dumps(body).encode()
            self.send_response(404 if body is None else 200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        one.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield one
        finally:
            server.shutdown()
            thread.join()
