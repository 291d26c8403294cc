"""Facts: what happened, told once. Logs, metrics, traces and audit are readings of the same fact.

A fact never carries a secret, a prompt or an answer.
"""

from contextvars import ContextVar
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from isthmus.core.identity import NOBODY, Caller, ClientInfo, Who
from isthmus.core.messages import Usage
from isthmus.core.session_facts import (
    ActionAnswered,
    AnswerShaped,
    CheckpointWritten,
    Compacted,
    RouteTaken,
    SessionAnswered,
    SessionAsked,
    SessionRejected,
)

REQUEST_ID: ContextVar[str] = ContextVar("isthmus_request_id", default="")
"""Correlation id of the request or session at hand; for logs and replies only."""


class Started(Struct, frozen=True, gc=False):
    """A listener is ready. `transport`: http or grpc."""

    transport: str
    address: str
    after_s: float


class Stopping(Struct, frozen=True, gc=False):
    """The server drains."""

    reason: str


class Noted(Struct, frozen=True, gc=False):
    """Something an operator should read. `level`: info, warning, error or critical."""

    level: str
    event: str
    details: tuple[tuple[str, str], ...] = ()


class Crashed(Struct, frozen=True, gc=False):
    """A bug: an exception that is not ours. `trace` is the formatted traceback."""

    where: str
    error: str
    trace: str


class HttpServed(Struct, frozen=True, gc=False):
    """One HTTP request was answered, or its caller left.

    `route` is the template ("" when nothing matched). Durations in seconds. `bound` are the log
    fields that come from request headers; `fields` those that authentication and the handler added.
    `own_s` is our own part of `response_start_s`: what was not waiting for models.
    """

    method: str
    route: str
    path: str
    status: int
    http_version: str
    client: str
    user_agent: str
    request_id: str
    arrived_at_s: float
    duration_s: float
    response_start_s: float
    first_chunk_s: float
    cpu_s: float
    content_type: str
    aborted: bool
    bound: tuple[tuple[str, str], ...] = ()
    fields: tuple[tuple[str, object], ...] = ()
    own_s: float = 0.0


class RpcServed(Struct, frozen=True, gc=False):
    """One RPC ended. `method` is a path, as `/DuoWorkflow/ListTools`; `code` is a status name.

    `cpu_s` is what the loop's thread worked meanwhile, for whomever. `unstarted` is why a session's
    stream ended before it began: NO_START_REQUEST, EMPTY_START_REQUEST or "".
    """

    method: str
    kind: str
    code: str
    details: str
    duration_s: float
    user_agent: str
    request_id: str
    fields: tuple[tuple[str, object], ...] = ()
    cpu_s: float = 0.0
    unstarted: str = ""


class ModelCallStarted(Struct, frozen=True, gc=False):
    """A model call left; every one of them ends in a ModelCalled."""

    engine: str
    model: str


class ModelCalled(Struct, frozen=True, gc=False):
    """One model call ended. `error` is "none" or one of the classes of the metrics contract.

    `deployment` served, or failed last, after `tries`; `finish` is the vendor's, "cancelled" or
    "error". `cost` is in millionths of a US dollar, None where no price is known; `call_id` is of
    this call alone. `warmth` says whether it went where its prompt may be in a cache: "warm",
    "cold", "new" (nothing was known) or "" (no matter). `operation` is chat, text_completion or
    embeddings; `gap_s` is the mean time between pieces of a streamed answer and `longest_gap_s` the
    longest, 0 where there were not two.
    """

    provider: str
    engine: str
    model: str
    feature: str
    unit_primitive: str
    streaming: bool
    duration_s: float
    first_byte_s: float
    usage: Usage | None
    error: str
    finish: str
    realm: str = ""
    who: Who = NOBODY
    deployment: str = ""
    tries: int = 1
    queued_s: float = 0.0
    cost: int | None = None
    warmth: str = ""
    call_id: str = ""
    operation: str = "chat"
    gap_s: float = 0.0
    longest_gap_s: float = 0.0


class TryFailed(Struct, frozen=True, gc=False):
    """One try of a model call failed before its content, and another deployment is asked.

    `error` is a class of the metrics contract, `detail` our words; `then`: next or floor.
    """

    deployment: str
    model: str
    error: str
    then: str
    detail: str = ""


class AnswerReused(Struct, frozen=True, gc=False):
    """A call was answered from the exact cache, and no model was asked."""

    model: str
    feature: str
    who: Who


class BreakerMoved(Struct, frozen=True, gc=False):
    """A deployment's breaker: "open", "half open", "closed", or "dead" (its key is refused)."""

    deployment: str
    state: str
    reason: str


class LimitMet(Struct, frozen=True, gc=False):
    """A limit refused a call, or would have; `mode`: enforce or shadow."""

    rule: str
    counted: str
    mode: str
    who: Who
    feature: str


class LimitStoreLost(Struct, frozen=True, gc=False):
    """The shared counters cannot be reached (`lost`), or can be again."""

    lost: bool
    error: str = ""


class SecretFound(Struct, frozen=True, gc=False):
    """A guard found secrets. `way`: prompt, tool_result, answer; `mode`: redact, block, shadow."""

    rule: str
    way: str
    mode: str
    feature: str
    provider: str
    count: int


class SuggestionJudged(Struct, frozen=True, gc=False):
    """A user saw, took or refused a suggestion, or `count` of them.

    `verdict`: shown, accepted, rejected or failed; `call_id` is "" for several at once.
    """

    verdict: str
    call_id: str
    language: str
    model: str
    feature: str
    who: Who
    count: int = 1


class ConfigurationRead(Struct, frozen=True, gc=False):
    """The configuration was read again: taken, or refused with the reason and the old one kept."""

    taken: bool
    reason: str
    changed: tuple[tuple[str, str], ...] = ()


class FeatureUsed(Struct, frozen=True):
    """A caller was allowed to use a feature: what product and billing events are made of.

    The ModelCalled facts of the same request tell how it went. `billed` is the type of the billing
    event that each model call with an answer stands for ("" is none), `feature` its qualified name.
    `details` are further fields of the product event.
    """

    unit_primitive: str
    caller: Caller
    client: ClientInfo
    billed: str = ""
    feature: str = ""
    details: tuple[tuple[str, object], ...] = ()


class QuotaAsked(Struct, frozen=True, gc=False):
    """A portal was asked for credits, or its earlier answer was used again (`asked` false).

    `result`: allow, deny or error; `status` is the portal's, 0 when it did not answer.
    """

    result: str
    realm: str
    asked: bool
    status: int
    duration_s: float


class PayloadSeen(Struct, frozen=True):
    """Words that went to a model or came from it; told only when payload logging is allowed."""

    event: str
    payload: tuple[tuple[str, object], ...]


class SuggestionTrimmed(Struct, frozen=True, gc=False):
    """A completion was post-processed."""

    duration_s: float


class SuggestionAsked(Struct, frozen=True, gc=False):
    """A code suggestion was asked for in a language."""

    language: str
    extension: str
    editor_language: str


class SessionStarted(Struct, frozen=True, gc=False):
    """A session's stream began; `mode`: start, resume, retry."""

    workflow_id: str
    definition: str
    mode: str


class SessionEnded(Struct, frozen=True, gc=False):
    """A session's stream ended.

    `outcome`: finished, waiting, stopped, failed, aborted, interrupted or paused. `mode` is as in
    SessionStarted.
    """

    workflow_id: str
    definition: str
    outcome: str
    reason: str
    duration_s: float
    steps: int
    mode: str = ""


class ModelUse(NamedTuple):
    """One model call of a session, as bills list it; `model` is the provider's own name.

    `operation` is what it was for, where it was not an agent's own step.
    """

    agent: str
    model: str
    engine: str
    provider: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    operation: str = ""


class SessionBilled(Struct, frozen=True):
    """A stream of a session is to be paid for, or a model call of another server's session.

    `used` has a pair for each model call ("model" and a `ModelUse`) and for each tool ("tool" and
    its name). `catalogued`: the flow is one that users made themselves.
    """

    workflow_id: str
    feature: str
    catalogued: bool
    caller: Caller
    client: ClientInfo
    used: tuple[tuple[str, object], ...]


class RelayOpened(Struct, frozen=True, gc=False):
    """A client's socket was accepted. `client_type` is its own word."""

    client_type: str


class RelayClosed(Struct, frozen=True, gc=False):
    """A client's socket ended. `workflow_id` is "" when no session began.

    `status` is gRPC's name of the session's end; `error` is "" or quota_exceeded, locked or other.
    """

    workflow_id: str
    code: int
    status: str
    error: str
    duration_s: float


class ActionRelayed(Struct, frozen=True, gc=False):
    """The relay carried out an HTTP action. `status` is 0 when there was no answer.

    `error` is "" or timeout, aborted, size_limit_exceeded or other.
    """

    workflow_id: str
    method: str
    status: int
    error: str
    duration_s: float


class ToolCalled(Struct, frozen=True, gc=False):
    """A tool ran for a session. `failure` is "" when it went well."""

    workflow_id: str
    definition: str
    tool: str
    duration_s: float
    failure: str


class ResultScanned(Struct, frozen=True, gc=False):
    """A tool's result was searched for orders to a model; `rule` names what was found, or is "".

    `outcome`: clean, found, blocked, error, timeout or skipped (too many were waiting).
    """

    workflow_id: str
    tool: str
    trust: str
    outcome: str
    rule: str
    duration_s: float


class KeysRefreshed(Struct, frozen=True, gc=False):
    """An issuer's key set was fetched, or could not be (`error` is then not empty)."""

    issuer: str
    keys: int
    error: str = ""


class CertificateLoaded(Struct, frozen=True, gc=False):
    """A listener serves by a certificate from now on.

    `listener`: http or grpc. `ends_at_s` is when the first of its chain ends, in seconds since the
    epoch.
    """

    listener: str
    ends_at_s: float


Fact: TypeAlias = (
    Started
    | Stopping
    | Noted
    | Crashed
    | HttpServed
    | RpcServed
    | ModelCallStarted
    | ModelCalled
    | TryFailed
    | AnswerReused
    | BreakerMoved
    | LimitMet
    | LimitStoreLost
    | SecretFound
    | SuggestionJudged
    | ConfigurationRead
    | FeatureUsed
    | QuotaAsked
    | PayloadSeen
    | SuggestionTrimmed
    | SuggestionAsked
    | SessionAsked
    | SessionRejected
    | SessionStarted
    | SessionAnswered
    | SessionEnded
    | SessionBilled
    | ActionAnswered
    | RelayOpened
    | RelayClosed
    | ActionRelayed
    | ToolCalled
    | ResultScanned
    | CheckpointWritten
    | RouteTaken
    | AnswerShaped
    | Compacted
    | KeysRefreshed
    | CertificateLoaded
)
