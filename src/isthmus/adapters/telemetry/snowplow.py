"""Structured events as the Snowplow tracker protocol writes them; pure.

Source: docs.snowplow.io, "Event parameters" and "Example tracker HTTP request headers".
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

import isthmus

PATH = "/com.snowplowanalytics.snowplow/tp2"
CATEGORY = "isthmus.gateway"
PROPERTY_LIMIT_CHARS = 1_000
_CONTEXTS = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1"
_PAYLOAD = b'{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":['
_TRACKER = f"isthmus-{isthmus.__version__}"
_ENCODER = msgspec.json.Encoder(enc_hook=str)


@dataclass(frozen=True, slots=True)
class Context:
    """Data that an event carries, and the schema that it fits."""

    schema: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Structured:
    """What happened (`action`), at which second since the epoch."""

    id: str
    at_s: float
    action: str
    contexts: Sequence[Context]
    category: str = CATEGORY
    label: str = ""
    property: str = ""


def encode(event: Structured, namespace: str, app_id: str) -> bytes:
    """One event of a batch: a JSON object of texts."""
    contexts = {
        "schema": _CONTEXTS,
        "data": [{"schema": each.schema, "data": each.data} for each in event.contexts],
    }
    fields = {
        "e": "se",
        "p": "srv",
        "tv": _TRACKER,
        "tna": namespace,
        "aid": app_id,
        "eid": event.id,
        "dtm": str(int(event.at_s * 1000)),
        "se_ca": event.category,
        "se_ac": event.action,
        "se_la": event.label,
        "se_pr": event.property[:PROPERTY_LIMIT_CHARS],
        "cx": urlsafe_b64encode(_ENCODER.encode(contexts)).decode("ascii"),
    }
    return _ENCODER.encode({name: value for name, value in fields.items() if value})


def body(events: Sequence[bytes], now_s: float) -> bytes:
    """The body of a POST to PATH: events that `encode` wrote, each with the time of sending."""
    sent = b',"stm":"%d"}' % int(now_s * 1000)
    return b"".join((_PAYLOAD, b",".join([event[:-1] + sent for event in events]), b"]}"))
