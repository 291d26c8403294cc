"""Where a run connects, and as whom: from its options, over gRPC or over the relay. Pure."""

import base64
import json
from collections.abc import Mapping
from typing import cast

from isthmus.executor.address import BadAddress, address_of
from isthmus.executor.channel import Access
from isthmus.executor.options import Wanted, is_on
from isthmus.executor.process import git_settings, harmless_pairs
from isthmus.executor.socket import SocketAccess, relay_url
from isthmus.executor.trust import OWN, Trust
from isthmus.executor.wire import Dial

CONTRACT_VERSION = "19.0.0"
"""The instance version whose clients declare capabilities; without one they are not looked at."""
CLIENT = "isthmus-executor"
CO_AUTHOR = "Co-authored-by: Isthmus <noreply@isthmus.invalid>"


def over_relay(wanted: Wanted) -> bool:
    """Whether the instance carries the session. Raises BadAddress for an unknown kind."""
    kind = wanted.connection_type.strip().lower()
    if kind not in {"", "websocket", "grpc"}:
        raise BadAddress("--connection-type is websocket or grpc")
    return kind == "websocket" or (not kind and bool(wanted.base_url))


def dial(wanted: Wanted, workflow_id: str, trust: Trust = OWN) -> Dial:
    """How a job's session is reached. Raises BadAddress naming what is missing."""
    if over_relay(wanted):
        return relay(wanted, workflow_id, trust)
    if not wanted.service_server:
        raise BadAddress("a job over grpc needs DUO_WORKFLOW_SERVICE_SERVER")
    clear = is_on(wanted.insecure, default=False)
    scheme = "grpc" if clear else "grpcs"
    address = address_of(f"{scheme}://{wanted.service_server}", in_the_clear=clear)
    token = wanted.service_token
    lent = {"x-gitlab-oauth-token": wanted.auth_token}
    headers = platform_headers(token, wanted)
    return Access(address, tuple(headers.items()), token, tuple(_said(lent).items()), trust=trust)


def relay(wanted: Wanted, workflow_id: str, trust: Trust = OWN) -> SocketAccess:
    """The relay of the job's instance. Raises BadAddress."""
    query = {
        "project_id": wanted.project_path or wanted.project_id,
        "root_namespace_id": wanted.namespace_id,
        "workflow_id": workflow_id,
        "workflow_definition": wanted.definition,
        "user_selected_model_identifier": wanted.model,
    }
    if not wanted.auth_token:
        raise BadAddress("the instance needs a token: GITLAB_TOKEN or GITLAB_OAUTH_TOKEN")
    headers = {
        "User-Agent": CLIENT,
        "X-Gitlab-Client-Name": CLIENT,
        "X-Gitlab-Client-Type": CLIENT,
        "X-Gitlab-Agent-Platform-Feature-Setting-Name": wanted.feature,
        "Langsmith-Trace": wanted.langsmith_trace,
    }
    url = relay_url(wanted.base_url, query)
    return SocketAccess(url, tuple(_said(headers).items()), wanted.auth_token, trust=trust)


def platform_headers(token: str, wanted: Wanted) -> dict[str, str]:
    """Headers of a gRPC call that agree with its token; what a job tells goes before claims."""
    claims = claimed(token)
    subject = claims.get("sub", "")
    return _said(
        {
            "x-gitlab-authentication-type": "oidc",
            "x-gitlab-instance-id": wanted.instance_id or claims.get("gitlab_instance_id", subject),
            "x-gitlab-global-user-id": wanted.global_user_id or subject,
            "x-gitlab-realm": wanted.realm or claims.get("gitlab_realm", ""),
            "x-gitlab-version": wanted.version or CONTRACT_VERSION,
            "x-gitlab-base-url": wanted.base_url,
            "x-gitlab-project-id": wanted.project_id,
            "x-gitlab-root-namespace-id": wanted.namespace_id,
            "x-gitlab-client-type": CLIENT,
            "x-gitlab-agent-platform-model-metadata": wanted.model_metadata,
            "x-gitlab-agent-platform-feature-setting-name": wanted.feature,
            "langsmith-trace": wanted.langsmith_trace,
        }
    )


def claimed(token: str) -> dict[str, str]:
    """The text claims of a token, not verified: the headers that go with it must repeat them."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        decoded: object = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return {}
    claims = cast("dict[str, object]", decoded) if isinstance(decoded, dict) else {}
    return _said({name: value for name, value in claims.items() if isinstance(value, str)})


def git_login(wanted: Wanted, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that let git in at the instance, and nowhere else; none without a login."""
    if not wanted.git_password or not wanted.git_base_url:
        return {}
    user = wanted.git_user or "oauth"
    text = base64.b64encode(f"{user}:{wanted.git_password}".encode()).decode()
    place = f"http.{wanted.git_base_url.rstrip('/')}/.extraHeader"
    login = (place, f"Authorization: Basic {text}")
    return git_settings([*harmless_pairs(environment), login])


def trailers(wanted: Wanted, workflow_id: str) -> tuple[str, ...]:
    """What the session's commits say of it, where sessions are tracked."""
    if not is_on(wanted.tracking, default=False) or not wanted.project_path:
        return ()
    place = f"{wanted.base_url}/{wanted.project_path}/-/automate/agent-sessions/{workflow_id}"
    return (CO_AUTHOR, f"Duo-Session: {place}")


def _said(texts: Mapping[str, str]) -> dict[str, str]:
    """Those that can stand in a header."""
    return {
        name: text for name, text in texts.items() if text and text.isascii() and text.isprintable()
    }
