"""What the relay decides without a socket: closing codes, reasons, addresses, capabilities."""

import pytest

from isthmus.contract.contract_pb2 import StartWorkflowRequest
from isthmus.core import errors
from isthmus.core.errors import Failure, Invalid, NotFound
from isthmus.edge.grpc.errors import CODE
from isthmus.edge.relay.address import target_of
from isthmus.edge.relay.closing import CLOSE_CODE, STATUS, Farewell, farewell
from isthmus.edge.relay.socket import REASON_LIMIT_BYTES, clipped
from isthmus.edge.relay.start import OF_CLIENTS, rewrite
from isthmus.instance.locks import Locks


def leaves(kind: type[Failure]) -> list[type[Failure]]:
    """Every failure that is raised: `kind` itself, too, unless it is the root."""
    found = [each for child in kind.__subclasses__() for each in leaves(child)]
    return found if kind is Failure else [kind, *found]


@pytest.mark.parametrize("kind", leaves(Failure))
def test_every_failure_has_a_closing_code_and_a_status(kind: type[Failure]) -> None:
    assert kind in CLOSE_CODE
    assert STATUS.get(kind, "INTERNAL") == CODE[kind].name


def test_a_good_end_needs_no_reason() -> None:
    assert farewell(None) == Farewell(1000, "", "OK", "")
    assert farewell(errors.Unavailable("x")).reason == "server shutdown"


@pytest.mark.parametrize("text", ["a" * 200, "ä" * 100, "€" * 60, "😀" * 40, "", "short"])
def test_reasons_are_cut_between_characters(text: str) -> None:
    cut = clipped(text)
    assert text.startswith(cut)
    assert len(cut.encode()) <= REASON_LIMIT_BYTES
    assert cut == text or len(cut.encode()) > REASON_LIMIT_BYTES - 4


def test_a_target_keeps_what_was_sent_and_knows_what_it_means() -> None:
    target = target_of("patch", "api/v4/projects/g%2Fp?x=%20&y=..")
    assert (target.method, target.path) == ("PATCH", "/api/v4/projects/g/p")
    assert target.whole == "/api/v4/projects/g%2Fp?x=%20&y=.."
    assert target_of("GET", "/api/v4/x.y/..z").path == "/api/v4/x.y/..z"
    assert target_of("POST", "/api/graphql").query == ""


@pytest.mark.parametrize("path", ["/api/..", "/api/v4/%2E%2e/x", "/apix", "/oauth/token", "/"])
def test_other_targets_are_not_there(path: str) -> None:
    with pytest.raises(NotFound):
        target_of("GET", path)


@pytest.mark.parametrize("path", ["/api/\n", "", "/api/é", "/api/" + "x" * 8200])
def test_what_cannot_be_sent_is_invalid(path: str) -> None:
    with pytest.raises(Invalid):
        target_of("GET", path)


def test_capabilities_are_kept_in_the_clients_order() -> None:
    told = sorted(OF_CLIENTS, reverse=True)
    start = StartWorkflowRequest(clientCapabilities=[*told, *told, "tool_call_approval"])
    rewrite(start, ["flow_semantic_versioning", "tool_call_approval"])
    assert list(start.clientCapabilities) == [*told, "tool_call_approval"]


def test_a_lock_is_held_once() -> None:
    locks = Locks()
    assert locks.take("1")
    assert not locks.take("1")
    assert locks.take("2")
    locks.free("1")
    locks.free("1")
    assert locks.take("1")
