"""Our own keys: each stands on its own."""

from isthmus.adapters.keysets.static import local_keys
from isthmus.core.events import Noted
from tests.support.sink import MemorySink
from tests.support.tokens import pem_of, private_key, public_of, public_pem_of

SIGNING, VALIDATION = private_key("signing"), private_key("validation")


def test_both_keys_have_their_names() -> None:
    keys = local_keys("svc", pem_of(SIGNING), public_pem_of(VALIDATION), MemorySink())
    assert keys == (
        public_of(SIGNING, "svc_signing_key"),
        public_of(VALIDATION, "svc_validation_key"),
    )


def test_an_empty_key_is_left_out_silently() -> None:
    sink = MemorySink()
    assert local_keys("svc", " \n", "", sink) == ()
    assert sink.facts == []


def test_a_bad_key_is_told_and_does_not_remove_the_other() -> None:
    sink = MemorySink()
    keys = local_keys("svc", "secret rubbish", pem_of(VALIDATION), sink)
    assert [key.kid for key in keys] == ["svc_validation_key"]
    (note,) = sink.of(Noted)
    assert note.level == "error"
    assert dict(note.details)["key"] == "svc_signing_key"
    assert "secret" not in repr(note)
