"""The sink of product and billing events: facts of one request, put together and sent on.

Source: HTTP gateway contract, sections 10.6 and 10.7.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from uuid import uuid4

from isthmus.adapters.telemetry import contexts
from isthmus.adapters.telemetry.collector import Form, Stream
from isthmus.adapters.telemetry.contexts import Seen
from isthmus.adapters.telemetry.pipeline import Told
from isthmus.adapters.telemetry.snowplow import PATH, Context, Structured, body, encode
from isthmus.core.events import FeatureUsed, HttpServed, ModelCalled, SessionBilled, SuggestionAsked
from isthmus.settings import EventStream

SEEN_LIMIT = 10_000
SEEN_S = 900.0
FEATURES_LIMIT = 8
"""Features that one request is remembered to have used."""
_COMPLETION = "code_completions"
_PROXY = "ai_gateway_proxy_use"
_SESSION = "duo_agent_platform_workflow_completion"


def stream_of(name: str, settings: EventStream, limit: int) -> Stream[Structured]:
    """A stream to a collector of Snowplow's, of which `limit` events may wait."""
    form: Form[Structured] = Form(
        url=settings.endpoint.rstrip("/") + PATH,
        batch_size=settings.batch_size,
        headers=(("content-type", "application/json; charset=utf-8"),),
        encode=lambda event: encode(event, settings.namespace, settings.app_id),
        body=body,
    )
    return Stream(name, form, limit)


class Events:
    """Turns facts into events of the streams that there are; a stream that is off is None.

    `take` is the pipeline's sink. `new_id` makes the ids of events.
    """

    def __init__(
        self,
        streams: Mapping[str, Stream[Structured]],
        environment: str,
        region: str,
        new_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self._product = streams.get("product")
        self._billing = streams.get("billing")
        self._suggestions = streams.get("suggestions")
        self._environment = environment
        self._region = region
        self._new_id = new_id
        self._requests = Requests()

    def take(self, batch: Sequence[Told]) -> None:
        """Read a batch, in order."""
        for at_s, request_id, fact in batch:
            match fact:
                case FeatureUsed():
                    self._used(at_s, request_id, fact)
                case ModelCalled():
                    self._called(at_s, request_id, fact)
                case SuggestionAsked() if self._suggestions is not None:
                    self._asked(at_s, request_id, fact)
                case SessionBilled() if self._billing is not None:
                    self._billing.put(self._session(at_s, request_id, fact))
                case HttpServed():
                    self._requests.served(fact.request_id)
                case _:
                    pass

    def _used(self, at_s: float, request_id: str, fact: FeatureUsed) -> None:
        who = contexts.seen(fact, self._environment, request_id, at_s)
        self._requests.used(request_id, who, at_s)
        self._tell(at_s, f"request_{fact.unit_primitive}", contexts.product(who))

    def _called(self, at_s: float, request_id: str, call: ModelCalled) -> None:
        who = self._requests.of(request_id, call.unit_primitive, at_s)
        if who is None or call.error != "none":
            return
        if call.usage is not None:
            self._tell(at_s, f"token_usage_{call.unit_primitive}", contexts.product(who, call))
        if self._billing is None or not _costs(who.billed, call):
            return
        event_id = self._new_id()
        paid = (contexts.billable(who, call, event_id, at_s),)
        self._billing.put(Structured(event_id, at_s, who.billed, paid))
        self._tell(at_s, "usage_billing_event", contexts.product(who, call), event_id)

    def _session(self, at_s: float, request_id: str, bill: SessionBilled) -> Structured:
        details = (
            ("feature_ai_catalog_item", bill.catalogued),
            ("execution_environment", "duo_agent_platform"),
        )
        used = FeatureUsed(
            "duo_agent_platform", bill.caller, bill.client, _SESSION, bill.feature, details
        )
        who = contexts.seen(used, self._environment, request_id, at_s)
        event_id = self._new_id()
        return Structured(event_id, at_s, _SESSION, (contexts.session(who, bill, event_id, at_s),))

    def _asked(self, at_s: float, request_id: str, fact: SuggestionAsked) -> None:
        stream = self._suggestions
        scopes = ("complete_code", "generate_code")
        found = (self._requests.of(request_id, scope, at_s) for scope in scopes)
        who = next((each for each in found if each is not None), None)
        if stream is not None and who is not None:
            about = (contexts.suggestion(who, fact, self._region),)
            name, category = "suggestion_requested", "code_suggestions"
            stream.put(Structured(self._new_id(), at_s, name, about, category))

    def _tell(self, at_s: float, name: str, about: Sequence[Context], label: str = "") -> None:
        if self._product is not None:
            self._product.put(Structured(self._new_id(), at_s, name, about, label=label))


class Requests:
    """Who used what, by request, as long as facts of it may come: bounded in number and in time.

    Several requests may bear one id, which their callers choose; so a feature is looked for by its
    unit primitive as well, and what was served is only the first to be forgotten.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[str, tuple[float, dict[str, Seen]]] = OrderedDict()

    def used(self, request_id: str, who: Seen, at_s: float) -> None:
        """Remember."""
        if not request_id:
            return
        _, features = self._open.get(request_id, (at_s, dict[str, Seen]()))
        if len(features) < FEATURES_LIMIT:
            features[who.unit_primitive] = who
        self._open[request_id] = at_s, features
        self._open.move_to_end(request_id)
        if len(self._open) > SEEN_LIMIT:
            self._open.popitem(last=False)

    def of(self, request_id: str, unit_primitive: str, at_s: float) -> Seen | None:
        """Who used this, if that was lately."""
        since_s, features = self._open.get(request_id, (0.0, dict[str, Seen]()))
        return features.get(unit_primitive) if at_s - since_s <= SEEN_S else None

    def served(self, request_id: str) -> None:
        """Keep it only as long as there is room."""
        if request_id in self._open:
            self._open.move_to_end(request_id, last=False)


def _costs(billed: str, call: ModelCalled) -> bool:
    """Whether a call that did not fail is paid for: one that ended, and gave something."""
    if not billed or call.finish == "cancelled":
        return False
    if billed == _COMPLETION:
        return call.usage.output_tokens > 0 if call.usage else call.first_byte_s > 0.0
    return call.usage is not None or billed != _PROXY
