"""The one error tree. A failure carries facts as attributes; each edge maps it once, by table.

Failure
 ├─ Invalid             input does not fit its schema; names the fields
 ├─ Rejected            well formed, but not something that can be served
 ├─ TooLarge            over a size limit
 ├─ Unauthenticated     who calls is not known
 ├─ Forbidden           who calls may not do this
 │   ├─ NotEntitled         a portal that counts credits does not know or admit them
 │   └─ InsufficientScope   the token does not hold what the route asks for
 ├─ NotEnabled          allowed in principle, not switched on or not paid for
 │   └─ InsufficientCredits a portal that counts credits says that they are used up
 ├─ NotBuilt            a part of the contract that this server does not have
 ├─ NotFound
 ├─ Conflict            the record is in another state than the change needs
 ├─ LimitExceeded       a limit or quota of ours
 ├─ Withheld            a guard keeps this from leaving: it holds a secret
 ├─ ClientGone          the caller left; nobody reads the answer
 ├─ ToolRefused         a tool may not do this; the model is told, the session goes on
 ├─ Unavailable         we cannot serve now: draining, nothing is configured
 │   └─ StoreDown           the database does not answer, or its disk is full
 ├─ Interrupted         a running session was stopped by us; it resumes elsewhere
 ├─ MisconfiguredProvider   a model provider lacks what its calls need
 ├─ CannotSign          no usable key to sign a token with
 ├─ UpstreamFailed      a model provider answered with an error, or broke
 │   ├─ UpstreamLimited     it asked us to slow down (429, overloaded)
 │   └─ UpstreamUnreachable it was never reached: refused, reset before an answer, no route
 └─ UpstreamTimeout     a model provider did not answer in time
"""

from dataclasses import dataclass

from isthmus.core.limits import LimitState


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault in the input: `field` is a dotted path, such as `current_file.file_name`."""

    field: str
    reason: str


class Failure(Exception):
    """Root of every failure we raise on purpose. `detail` is a sentence the caller may read."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Invalid(Failure):
    """The input does not fit its schema. `fields` names each fault that is known."""

    def __init__(self, detail: str, fields: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.fields = fields


class Rejected(Failure):
    """The input is well formed, but not something that can be served."""


class TooLarge(Failure):
    """A size limit was passed; `limit_bytes` is that limit."""

    def __init__(self, detail: str, limit_bytes: int) -> None:
        super().__init__(detail)
        self.limit_bytes = limit_bytes


class Unauthenticated(Failure):
    """Who calls is not known."""


class Forbidden(Failure):
    """Who calls is known, and may not do this."""


class NotEntitled(Forbidden):
    """The portal that counts credits does not admit the caller, or did not answer."""


class InsufficientScope(Forbidden):
    """The token does not hold any of `scopes`."""

    def __init__(self, detail: str, scopes: tuple[str, ...]) -> None:
        super().__init__(detail)
        self.scopes = scopes


class NotEnabled(Failure):
    """What is asked for is not switched on for this caller, or not paid for."""


class InsufficientCredits(NotEnabled):
    """The portal that counts credits says that they are used up."""


class NotBuilt(Failure):
    """A part of the contract that this server does not have."""


class NotFound(Failure):
    """There is no such thing, or none that this caller may see."""


class Conflict(Failure):
    """The record is in another state than the change needs."""


class LimitExceeded(Failure):
    """A limit of ours was reached; `retry_after_s` says when the next try makes sense.

    `rule` names it where it is one of the operator's, and `state` says how it stands.
    """

    def __init__(
        self, detail: str, retry_after_s: float, rule: str = "", state: LimitState | None = None
    ) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.rule = rule
        self.state = state


class Withheld(Failure):
    """A guard keeps this from leaving to a model, or to the caller; `rule` names what it found."""

    def __init__(self, detail: str, rule: str) -> None:
        super().__init__(detail)
        self.rule = rule


class ClientGone(Failure):
    """The caller left; nobody reads the answer."""


class ToolRefused(Failure):
    """A tool may not do this, or could not; the model is told and the session goes on."""


class Unavailable(Failure):
    """We cannot serve this now: draining, full, or a store is down. A later try may work.

    `retry_after_s` says when, where that is known.
    """

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class StoreDown(Unavailable):
    """A database does not answer, or cannot write. What it stored is safe."""


class Interrupted(Failure):
    """A running session was stopped by us and checkpointed; a new stream resumes it."""


class MisconfiguredProvider(Failure):
    """A model provider lacks what its calls need, for example its key."""


class CannotSign(Failure):
    """A token was asked for, and there is no usable key to sign it with."""


class UpstreamFailed(Failure):
    """A model provider answered with an error, or its stream broke.

    `status` is its HTTP status (0 when there was none), or the one that says what its body means:
    401 for a bad key, 402 for no credit, 404 for no such model. `body` is the start of its answer
    (at most 64 KiB, for the proxy route alone, never for a log), `retryable` whether another try
    may work. `reason` is "", or in our words why the call fails anywhere: prompt_too_long or
    content_policy.
    """

    reason: str = ""

    def __init__(
        self,
        detail: str,
        *,
        status: int = 0,
        body: bytes = b"",
        retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.body = body
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class UpstreamLimited(UpstreamFailed):
    """A model provider asked us to slow down (429, 529 or its own overload error)."""


class UpstreamUnreachable(UpstreamFailed):
    """A model provider was never reached: refused, reset before an answer, no such host."""


class UpstreamTimeout(Failure):
    """A model provider was too slow. `phase`: connect, first_byte, between_bytes or total."""

    def __init__(self, detail: str, phase: str) -> None:
        super().__init__(detail)
        self.phase = phase
