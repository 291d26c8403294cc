"""The contract's messages as JSON frames, as a client writes and reads them.

Source: instance contract, section 3.4.
"""

from google.protobuf.json_format import MessageToJson, Parse, ParseError

from isthmus.contract.contract_pb2 import Action, ClientEvent


class BadFrame(ValueError):
    """A frame is not what the contract says."""


def encoded(event: ClientEvent) -> str:
    """A frame to send: names as in the contract, 64-bit numbers as text, no defaults."""
    return MessageToJson(event, preserving_proto_field_name=True, indent=None)


def decoded(frame: str | bytes) -> Action:
    """A frame that came, as text or bytes; unknown fields are dropped. Raises BadFrame."""
    try:
        return Parse(frame, Action(), ignore_unknown_fields=True)
    except (ParseError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame("the server sent a frame that cannot be read") from error
