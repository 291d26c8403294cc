"""Chat whose caller brings the whole conversation: the first version's, kept for old clients.

Source: HTTP gateway contract, section 5.1.
"""

from collections.abc import Mapping
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from isthmus.auth.scopes import require
from isthmus.core.errors import Forbidden, NotFound, Unavailable
from isthmus.core.events import FeatureUsed
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.messages import Chat, Message, ModelChoice, ModelMetadata, Text
from isthmus.core.ports import Telemetry
from isthmus.gateway.flags import effective
from isthmus.gateway.invoke import Prepared
from isthmus.prompts.shape import shaped
from isthmus.routing.ask import Ask
from isthmus.routing.models import Models
from isthmus.settings import GatewaySettings

SCOPES: Mapping[str, str] = {
    "agent": "duo_chat",
    "explain_code": "duo_chat",
    "write_tests": "duo_chat",
    "refactor_code": "duo_chat",
    "explain_vulnerability": "explain_vulnerability",
    "summarize_comments": "summarize_comments",
    "troubleshoot_job": "troubleshoot_job",
}
"""What may be asked for -> the scope that it needs."""
TIMEOUT_S = 90.0
CHAT_MAX_TOKENS = 4_096
_FEATURE = "duo_chat"
_DEFAULT_MODEL = "claude_sonnet_4_5_20250929"
_CLAUDE: Mapping[str, str] = {
    "claude-sonnet-4-5-20250929": _DEFAULT_MODEL,
    "claude-sonnet-4-5@20250929": _DEFAULT_MODEL,
    "claude-sonnet-4-6": "claude_sonnet_4_6",
    "claude-haiku-4-5-20251001": "claude_haiku_4_5_20251001",
}
_CUTOFF = "Duo Core no longer authorized to access Duo Classic Chat"


class ConverseRequest(Struct, frozen=True, gc=False):
    """A conversation, or one text, for a model. Empty model parts were not given."""

    invokable: str
    content: str | tuple[Message, ...]
    max_tokens: int
    temperature: float
    stop: tuple[str, ...]
    model: str = ""
    own_server: ModelMetadata | None = None
    streaming: bool = False


class Converse:
    """Turns such a request into a call; `Invoke` makes it."""

    def __init__(self, models: Models, telemetry: Telemetry, settings: GatewaySettings) -> None:
        self._models = models
        self._telemetry = telemetry
        self._cutoff = settings.duo_core_cutoff
        self._barred = settings.disallowed_flags

    def prepare(self, request: ConverseRequest, caller: Caller, client: ClientInfo) -> Prepared:
        """Raises NotFound, Forbidden, Rejected for a server that may not be named, Unavailable."""
        scope = SCOPES.get(request.invokable)
        if scope is None:
            raise NotFound("Not found")
        require(caller, (scope,), f"Unauthorized to access {scope}")
        duo_core = client.get("x-gitlab-feature-enablement-type") == "duo_core"
        if self._cutoff and duo_core:
            raise Forbidden(_CUTOFF)
        self._telemetry.emit(FeatureUsed(scope, caller, client))
        choice = self._choice(request, caller, client)
        messages, limit = request.content, request.max_tokens
        if isinstance(messages, str):
            messages = (Message("user", (Text(messages),)),)
        else:
            limit = min(limit, CHAT_MAX_TOKENS)

        def again(other: ModelChoice) -> Ask:
            return replace(ask, prompt=Chat(shaped(messages, other)))

        asked = request.own_server is not None or request.model in _CLAUDE
        ask = Ask(
            feature=_FEATURE,
            unit_primitive=scope,
            prompt=Chat(shaped(messages, choice)),
            max_tokens=limit,
            temperature=request.temperature,
            stop=request.stop,
            streaming=request.streaming,
            timeout_s=TIMEOUT_S,
            again=None if asked else again,
        )
        return Prepared(ask, choice)

    def _choice(self, request: ConverseRequest, caller: Caller, client: ClientInfo) -> ModelChoice:
        flags, models = effective(client, self._barred), self._models.of(caller.who)
        if request.own_server is not None:
            return models.resolve(request.own_server, _FEATURE, flags)
        named = _CLAUDE.get(request.model)
        if named is not None:
            return models.choose(_FEATURE, named)
        with suppress(Forbidden, NotFound, Unavailable):
            return models.choose(_FEATURE, _DEFAULT_MODEL)
        return models.resolve(None, _FEATURE, flags)
