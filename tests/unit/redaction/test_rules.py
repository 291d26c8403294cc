"""Secrets go, their surroundings stay, and no text is slow."""

import re
import time

import pytest

from isthmus.redaction.automaton import BadPattern
from isthmus.redaction.rules import (
    ID,
    MARK,
    SHIPPED,
    Rule,
    Rules,
    Shape,
    entropy,
    load,
    redact,
    shipped,
    suspicious,
)
from tests.support.secrets import Planted, examples, generated, planted, rules_as_json

NAMES = [shape.name for shape in shipped().shapes]
PLANTED = planted()
LINEAR_FROM, LINEAR_TO = 1 << 14, 1 << 17


def test_every_rule_has_examples_and_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 60
    assert list(examples()) == NAMES
    assert all(said["found"] for said in examples().values())


def test_what_the_server_reads_is_made_of_the_file() -> None:
    assert rules_as_json() == SHIPPED, "run `python -m tests.support.secrets`"


@pytest.mark.parametrize("one", PLANTED, ids=lambda one: one.rule)
def test_every_rule_finds_its_secret_and_nothing_else_changes(one: Planted) -> None:
    shape = shipped().shapes[NAMES.index(one.rule)]
    data = one.text.encode()
    assert [data[found.start : found.end] for found in shape.search(data)] == [one.secret.encode()]
    assert suspicious(one.text)
    assert redact(one.text) == one.marked(MARK)


@pytest.mark.parametrize(
    ("before", "after"),
    [("see ", " there"), ('{"a": "', '"}'), (r"a\n", '"'), ("x=(", ");"), ("_", "\n"), ("é", "é")],
)
@pytest.mark.parametrize("one", PLANTED, ids=lambda one: one.rule)
def test_a_secret_is_found_beside_anything(one: Planted, before: str, after: str) -> None:
    if "PRIVATE" in one.secret and "END" not in one.secret:
        # Without a mark of its end, a key goes on as long as it can.
        after = f"\n.{after}"
        assert redact(before + one.text + after) == before + MARK + after[1:]
        return
    assert redact(before + one.text + after) == before + one.marked(MARK) + after


@pytest.mark.parametrize("one", PLANTED, ids=lambda one: one.rule)
def test_secrets_stand_beside_each_other(one: Planted) -> None:
    twice = f"{one.text}.\n{one.text}" if "EC " in one.text else f"{one.text}\n.\n{one.text}"
    assert redact(twice) == twice.replace(one.secret, MARK)


def test_a_redacted_text_stays_as_it_is() -> None:
    once = redact("\n".join(one.text for one in PLANTED))
    assert not any(one.secret in once for one in PLANTED)
    assert redact(once) == once
    assert not suspicious(once)


@pytest.mark.parametrize(
    "text", [text for said in examples().values() for text in said.get("passed", [])]
)
def test_what_only_resembles_a_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "0123456789abcdef" * 2,
        "6f1e0b5a-7c1d-4f7e-9a51-0e8b2f6d3c4a",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "127.0.0.1:40123",
        "[2001:db8::1]:443",
        "1.1",
        "",
    ],
)
def test_ids_and_addresses_are_known_by_their_shape(text: str) -> None:
    assert ID.fullmatch(text)
    assert not suspicious(text)


@pytest.mark.parametrize("one", PLANTED, ids=lambda one: one.rule)
def test_no_secret_and_no_end_of_one_has_the_shape_of_an_id(one: Planted) -> None:
    texts = (one.text, f"0{one.text}", f"{one.text}0", one.text * 2)
    assert not any(ID.fullmatch(text) for text in texts)


@pytest.mark.parametrize(
    "text",
    [
        "password = get_password(user)",
        "token: str = Field(description='who calls')",
        "secret = os.environ['APP_SECRET_1']",
        "api_key: ${API_KEY}",
        "token = tokens[index2]",
        "total_tokens: 123456789012",
        "the key: a word that explains everything",
        "scikit: sk-learn-compatible-estimators-for-everyone",
        "git show 0123456789abcdef0123456789abcdef01234567",
        "https://example.com:8080/a@b and http://user@example.com/",
        "task-force-of-the-long-hyphenated-words",
        "uuid 6f1e0b5a-7c1d-4f7e-9a51-0e8b2f6d3c4a",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        'secret = "${VAULT_SECRET}"',
        "def test_token_is_checked_twice_2(): ...",
        "lone \ud800 surrogates and ümläuts 鍵",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_letters_beside_a_secret_are_not_cut() -> None:
    assert redact('password = "pässwörd-鍵1"') == f'password = "{MARK}"'
    assert redact('\ud800 password = "correct-horse"') == f'\ud800 password = "{MARK}"'


def test_entropy_is_measured_in_bits_a_byte() -> None:
    assert entropy(b"aaaa") == 0
    assert entropy(b"abab") == 1
    assert entropy(bytes(range(256))) == 8
    # Words assigned to a key's name are none; random letters are, digits or not.
    assert not suspicious("access_token = refresh_the_access_token")
    assert suspicious("access_token = qWzXpLkMvBnRtYhGfDsAjUeIoC")


def test_own_rules_and_exceptions_are_laid_over_the_file() -> None:
    own = Rule(name="own", secret=r"acme-[0-9]{6}", needles=("acme-",), run=r"[0-9]")
    shapes = load(SHIPPED, [own], allow=[r"AKIA.*"], exceptions={"own": [r"acme-0{6}"]})
    rules = Rules(shapes)
    text = b"acme-123456 acme-000000 AKIAIOSFODNN7EXAMPLE"
    assert [text[one.start : one.end] for one in rules.found(text)] == [b"acme-123456"]
    for pattern in ("(", "a(b)c", "鍵", "(?=a)"):
        with pytest.raises(BadPattern):
            Shape(Rule(name="bad", secret=pattern, lead="x", run="x"), {}).check()


def hostile(name: str) -> list[str]:
    """Texts of what begins a secret of this rule, over and over, and never ends."""
    one = next(one for one in PLANTED if one.rule == name)
    begun = one.before + one.secret[: max(len(one.secret) // 2, 1)]
    letters = re.sub(r"[^A-Za-z0-9]", "", one.secret)[-1:] or "a"
    return [one.before + one.secret[:4], begun, begun + "\n", begun + letters * 4_096, one.text]


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_text_takes_linear_time(name: str) -> None:
    def took_s(unit: str, size: int) -> float:
        text = (unit * (size // len(unit) + 1))[:size]
        start = time.process_time()
        redact(text)
        return time.process_time() - start

    for unit in hostile(name):
        took_s(unit, 1 << 12)
        # Eight times as much; quadratic time would be 64 times as long, each time.
        ratios = (took_s(unit, LINEAR_TO) / (took_s(unit, LINEAR_FROM) + 0.001) for _ in range(5))
        assert any(ratio < 32 for ratio in ratios)


def test_a_secret_behind_a_hostile_text_is_found() -> None:
    text = "".join((unit * (4_000 // len(unit))) for name in NAMES for unit in hostile(name)[:1])
    for one in generated(20):
        assert one.secret not in redact(f"{text}\n.\n{one.text}")
