"""The provider proxy: who may forward what, in the contract's order, and the usage read on the way.

Source: HTTP gateway contract, sections 7.1 to 7.3.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import product

import msgspec
from msgspec import Struct

from isthmus.auth.scopes import UNIT_PRIMITIVES, require
from isthmus.core.errors import Forbidden, NotEnabled, NotFound, Rejected
from isthmus.core.events import FeatureUsed
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import Use
from isthmus.core.messages import RawCall, RawReply
from isthmus.core.ports import Quota, Telemetry
from isthmus.gateway import vertex_path
from isthmus.routing.models import Models
from isthmus.settings import GatewaySettings

PROXY_PRIMITIVES = frozenset(
    (
        "ai_gateway_model_provider_proxy",
        "ask_build",
        "ask_commit",
        "ask_epic",
        "ask_issue",
        "ask_merge_request",
        "ask_work_item",
        "categorize_duo_chat_question",
        "description_composer",
        "documentation_search",
        "duo_chat",
        "duo_classic_chat",
        "explain_code",
        "explain_vulnerability",
        "fix_code",
        "generate_commit_message",
        "generate_cube_query",
        "generate_issue_description",
        "glab_ask_git_command",
        "measure_comment_temperature",
        "refactor_code",
        "resolve_vulnerability",
        "review_merge_request",
        "semantic_search_issue",
        "summarize_comments",
        "summarize_issue_discussions",
        "summarize_new_merge_request",
        "summarize_review",
        "troubleshoot_job",
        "write_tests",
    )
)
"""Scopes that may pay for a forwarded call."""

USE = "ai_gateway_proxy_use"
"""What a forwarded call is to quota and billing."""

TOP_LEVEL_KEYS = 128
PRIMITIVE_SHOWN = 200
_ALIKE = frozenset(map("".join, product(*(letter + letter.upper() for letter in "model"))))
"""Every key that a parser which ignores case reads as `model`; no letter but ASCII's does."""


class ForwardRequest(Struct, frozen=True, gc=False):
    """A call to be forwarded.

    `path` is the provider's, with its query; `headers` are all that came, names in lower case.
    """

    provider: str
    path: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class Forward:
    """Sends a provider's own wire through, byte for byte."""

    def __init__(
        self,
        models: Models,
        gateway: GatewaySettings,
        telemetry: Telemetry,
        quota: Quota | None = None,
    ) -> None:
        self._models = models
        self._telemetry = telemetry
        self._quota = quota
        self._saas = frozenset(gateway.proxy_saas)
        self._self_managed = frozenset(gateway.proxy_self_managed)
        self._target = _Target()
        self._names: dict[str, dict[bytes, str]] = {}

    def open(
        self, request: ForwardRequest, caller: Caller, client: ClientInfo
    ) -> AbstractAsyncContextManager[RawReply]:
        """The provider's reply, once entered; leaving closes the call.

        Raises NotEnabled, Forbidden, Rejected, NotFound or MisconfiguredProvider, and when entered
        what Quota and ModelProvider raise.
        """
        self._require_enabled(caller)
        primitive = _primitive(client)
        require(caller, (primitive,), f"Unauthorized to access {primitive}")
        _require_identity(caller, client)
        if primitive not in PROXY_PRIMITIVES:
            raise Rejected(f"This endpoint cannot be used for {primitive} purpose")
        headers = self._passed_on(request)
        if request.provider == vertex_path.PROVIDER:
            model, streaming = vertex_path.read(request.path, request.body)
        else:
            model, streaming = self._target.read(request.body)
        raw = RawCall(request.path, headers, request.body, model, streaming)
        opened = self._models.forward(request.provider, raw, caller, primitive)
        used = FeatureUsed(primitive, caller, client, billed=USE, feature=USE)
        if self._quota is not None:
            return self._paid(self._quota, opened, used, model)
        self._telemetry.emit(used)
        return opened

    @asynccontextmanager
    async def _paid(
        self,
        quota: Quota,
        opened: AbstractAsyncContextManager[RawReply],
        used: FeatureUsed,
        model: str,
    ) -> AsyncIterator[RawReply]:
        await quota.check(Use(USE, USE, model), used.caller, used.client)
        self._telemetry.emit(used)
        async with opened as reply:
            yield reply

    def _require_enabled(self, caller: Caller) -> None:
        if caller.realm == "saas":
            if self._saas and _root_namespace(caller) not in self._saas:
                raise NotEnabled("Proxy endpoints are not enabled for this namespace")
        elif self._self_managed and caller.instance_uid not in self._self_managed:
            raise NotEnabled("Proxy endpoints are not enabled for this instance")

    def _passed_on(self, request: ForwardRequest) -> tuple[tuple[str, str], ...]:
        provider = self._models.known(request.provider)
        if provider is None:
            # Told only after the checks of the body, by `Models.forward`.
            return ()
        if not provider.forwards(request.path):
            raise NotFound("Not found")
        names = self._names.get(request.provider)
        if names is None:
            names = {name.encode(): name for name in provider.forward_headers}
            self._names[request.provider] = names
        return tuple(
            [(names[raw], text.decode("latin-1")) for raw, text in request.headers if raw in names]
        )


def _primitive(client: ClientInfo) -> str:
    primitive = client.headers.get("x-gitlab-unit-primitive")
    if primitive is None:
        raise Rejected("Missing x-gitlab-unit-primitive header")
    if primitive not in UNIT_PRIMITIVES:
        raise Rejected(f"Unknown unit primitive header {primitive[:PRIMITIVE_SHOWN]}")
    return primitive


def _require_identity(caller: Caller, client: ClientInfo) -> None:
    """What the headers say of project and namespace must be what the token says.

    A self-managed token without an instance uid binds nothing here: authentication has compared
    the instance header with `sub` already.
    """
    said, claims = client.headers, caller.extra
    if caller.realm == "self-managed":
        uid = caller.instance_uid
        if uid and not _same(said.get("x-gitlab-instance-id"), uid):
            raise Forbidden("Gitlab instance uid mismatch")
        return
    if not _same(said.get("x-gitlab-project-id"), claims.get("gitlab_project_id")):
        raise Forbidden("Gitlab project id mismatch")
    if not _same(said.get("x-gitlab-namespace-id"), claims.get("gitlab_namespace_id")):
        raise Forbidden("Gitlab namespace id mismatch")
    if caller.realm != "saas" and not _same(
        said.get("x-gitlab-root-namespace-id"), claims.get("gitlab_root_namespace_id")
    ):
        raise Forbidden("Gitlab root namespace id mismatch")


def _same(said: str | None, known: object) -> bool:
    """Whether a header says what is known; clients write `null` for an id that they do not have."""
    if said is None or said in {"", "null"}:
        return known is None
    return known is not None and said == str(known)


def _root_namespace(caller: Caller) -> str | None:
    value = caller.extra.get("gitlab_root_namespace_id")
    return None if value is None else str(value)


class _Key:
    """A key of the body's top level; compared by identity, so a repeated name is seen twice."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class _Target:
    """Reads which model a body names, and whether it asks for a stream; skips all else.

    What is checked here must be what the upstream reads. Parsers differ on a repeated key, and some
    ignore case, so a body in which `model` could be read in two ways is refused.
    """

    def __init__(self) -> None:
        self._keys = 0
        self._body = msgspec.json.Decoder(dict[_Key, msgspec.Raw], dec_hook=self._key)
        self._value: msgspec.json.Decoder[object] = msgspec.json.Decoder(object)

    def read(self, body: bytes) -> tuple[str, bool]:
        """Model and stream flag. Raises Rejected with the contract's texts."""
        self._keys = 0
        try:
            members = self._body.decode(body)
        except msgspec.ValidationError as error:
            raise Rejected("Failed to extract model name") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Rejected("Invalid JSON") from error
        model: str | None = None
        streaming = False
        named = 0
        for key, raw in members.items():
            if key.text in _ALIKE:
                named += 1
                if key.text == "model":
                    model = self._name(raw)
            elif key.text == "stream":
                streaming = bytes(raw) == b"true"
        if named > 1:
            raise Rejected("The body names its model more than once")
        if not model:
            raise Rejected("Failed to extract model name")
        return model, streaming

    def _name(self, raw: msgspec.Raw) -> str | None:
        try:
            value = self._value.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Rejected("Invalid JSON") from error
        if value is None or isinstance(value, str):
            return value
        raise Rejected("Unsupported model")

    def _key(self, _: type, text: str) -> _Key:
        self._keys += 1
        if self._keys > TOP_LEVEL_KEYS:
            raise ValueError("too many keys")
        return _Key(text)
