"""Strings of a JSON text that hold a secret change; every other byte stays."""

import json
import time

import pytest

from isthmus.redaction.body import strings_redacted
from isthmus.redaction.rules import MARK, Found, shipped
from tests.support.secrets import generated

KEY = "sk_live_" + "A1b2C3d4E5f6G7h8"


def mark(_: Found, __: bytes) -> bytes:
    return MARK.encode()


def clean(text: bytes) -> bytes:
    return strings_redacted(shipped(), text, mark)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b'{"a" : 1 ,\t"b":[ "x", null, 1.50 ],"c":"\\u00e9 \\/ \\"token\\": \\"a\\""}',
        b'{"password": 12345678901234, "token": "NextToken"}',
        b'{"path": "C:\\\\new_token=\\\\sk-", "text": "\\ud83d\\ude00"}',
        '{"text": "pässwörd = ümläut", "lone": "\\ud800"}'.encode(),
        b'not "json',
        b'"\\',
    ],
)
def test_a_text_without_secrets_is_the_same_object(text: bytes) -> None:
    assert clean(text) is text


def test_only_the_string_that_holds_it_changes() -> None:
    head = b'{ "model":"m" , "n":1.0e3,"x":"\\u00e9\\/", "messages" : [ {"content":"'
    tail = b'", "role":"user"} ] ,\n"y":"\\u0041"}'
    assert clean(head + KEY.encode() + tail) == head + MARK.encode() + tail


@pytest.mark.parametrize("ascii_only", [True, False])
def test_every_secret_is_found_in_strings_however_they_are_escaped(*, ascii_only: bool) -> None:
    for one in generated(130):
        said = [f"é\n{one.text}; 鍵\t", {"k": f'"{one.text}; "', "n": 1}, one.text]
        body = json.dumps(said, ensure_ascii=ascii_only).encode()
        new = json.loads(clean(body))
        marked = one.marked(MARK)
        assert new == [f"é\n{marked}; 鍵\t", {"k": f'"{marked}; "', "n": 1}, marked], one.rule


@pytest.mark.parametrize(
    "escaped", ["sk_\\u006cive_A1b2C3d4E5f6G7h8", "\\u0073k_live_A1b2C3d4E5f6G7h8"]
)
def test_escapes_hide_nothing(escaped: str) -> None:
    assert json.loads(clean(f'["see {escaped}"]'.encode())) == [f"see {MARK}"]
    hook = "https:\\/\\/hooks.slack" + ".com\\/services\\/T000\\/B000\\/A1b2C3d4E5f6G7h8"
    assert json.loads(clean(f'["{hook}"]'.encode())) == [f"https://{MARK}"]


def test_what_is_sealed_is_not_broken() -> None:
    sealed = "A1b2" * 40 + "/" + "hf_" + "A1b2C3d4" * 8
    for name in ("data", "signature", "encrypted_content", "thoughtSignature"):
        text = json.dumps({name: sealed, "b": "c"}).encode()
        assert clean(text) is text
    assert KEY not in clean(json.dumps({"data": f"the key {KEY}"}).encode()).decode()


def test_names_stay() -> None:
    text = json.dumps({KEY: "a"}).encode()
    assert clean(text) is text


def test_what_is_no_json_is_looked_at_all_the_same() -> None:
    assert clean(b'data: {"a": "' + KEY.encode()) == b'data: {"a": "' + MARK.encode()


@pytest.mark.parametrize("unit", ['"', '\\"', '"\\u0041', '{"a":', '"a":"\\/",', "[" * 50, "\\"])
def test_a_hostile_body_takes_linear_time(unit: str) -> None:
    def took_s(size: int) -> float:
        text = ('"' + unit * (size // len(unit)) + "\\/").encode()
        start = time.process_time()
        clean(text)
        return time.process_time() - start

    took_s(1 << 12)
    # Eight times as much; quadratic time would be 64 times as long, each time.
    ratios = (took_s(1 << 19) / (took_s(1 << 16) + 0.001) for _ in range(5))
    assert any(ratio < 32 for ratio in ratios)
