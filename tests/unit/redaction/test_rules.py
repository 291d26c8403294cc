"""Secrets go, their surroundings stay, and no text is slow."""

import time

import pytest

from isthmus.redaction.rules import ID, MARK, RULES, redact, suspicious

_RUN = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0"
_HEX = "0123456789abcdef0123456789abcdef"
# Joined at run time, so that no scanner takes this file for a leak.
SECRETS = {
    "private key": "-----BEGIN RSA PRIVATE "
    + f"KEY-----\n{_RUN}\n{_RUN}==\n-----END RSA PRIVATE KEY-----",
    "web token": "ey" + f"JhbGciOiJSUzI1NiJ9.ey{_RUN}.{_RUN}",
    "AWS key id": "AKIA" + "IOSFODNN7EXAMPLE",
    "Google key": "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "Google token": "ya29" + f".{_RUN}",
    "Google secret": "GOCSPX" + f"-{_RUN}",
    "GitLab token": "glpat" + "-abcDEF123_-ghiJKL456",
    "GitLab runner token": "GR13" + "48941abcDEF123_-ghiJKL456",
    "GitHub token": "ghp" + f"_{_RUN}",
    "GitHub fine token": "github" + f"_pat_{_RUN}",
    "npm token": "npm" + f"_{_RUN}",
    "PyPI token": "pypi" + f"-AgEI{_RUN}",
    "Slack token": "xoxb" + "-123456789012-abcdefABCDEF",
    "Slack hook": "hooks.slack" + f".com/services/T000/B000/{_RUN}",
    "Discord hook": "discord" + f".com/api/webhooks/123456789/{_RUN}",
    "Stripe key": "sk_" + f"live_{_RUN}",
    "Anthropic key": "sk-" + f"ant-api03-{_RUN}",
    "OpenAI key": "sk-" + f"proj-{_RUN}",
    "Hugging Face token": "hf" + f"_{_RUN}",
    "SendGrid key": "SG" + f".{_RUN}.{_RUN}",
    "Twilio key": "SK" + _HEX,
    "Mailchimp key": f"{_HEX}-us" + "12",
    "Telegram token": "123456789:" + f"AA{_RUN}",
    "DigitalOcean token": "dop" + f"_v1_{_HEX}{_HEX}",
}
KEPT = {
    "password in a URL": ("postgresql://app:", "hunter2", "@db.example/main"),
    "authorization": ("Authorization: Bearer ", _RUN, " next"),
    "assigned text": ('db_password = "', "correct-horse", '" # why'),
    "assigned word": ("AWS_SECRET_ACCESS_KEY=", _RUN, "\nOTHER=1"),
}


@pytest.mark.parametrize("name", [rule.name for rule in RULES])
def test_every_rule_finds_its_secret_and_nothing_else_changes(name: str) -> None:
    before, secret, after = KEPT.get(name) or ("see ", SECRETS[name], " there")
    text = before + secret + after
    assert suspicious(text)
    rule = next(rule for rule in RULES if rule.name == name)
    assert rule.pattern.sub(rule.keep, text) == before + MARK + after
    assert redact(text) == before + MARK + after


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_found_inside_json_and_beside_others(secret: str) -> None:
    text = f'{{"a": "{secret}", "b": "{secret}"}}'
    assert redact(text) == f'{{"a": "{MARK}", "b": "{MARK}"}}'


def test_a_redacted_text_stays_as_it_is() -> None:
    text = " ".join(SECRETS.values()) + "".join("".join(parts) for parts in KEPT.values())
    once = redact(text)
    assert redact(once) == once


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


@pytest.mark.parametrize("secret", [*SECRETS.values(), *("".join(kept) for kept in KEPT.values())])
def test_no_secret_and_no_end_of_one_has_the_shape_of_an_id(secret: str) -> None:
    assert not any(ID.fullmatch(text) for text in (secret, f"0{secret}", f"{secret}0", secret * 2))


def test_no_rule_matches_what_has_the_shape_of_an_id() -> None:
    # Every needle in an id's alphabet, or as near to it as letters can be changed.
    texts = [needle.upper() for rule in RULES for needle in rule.needles]
    ids = [f"{text}{'0' * 26}"[:26] for text in texts] + [
        f"{'A' * 26}{text}"[-26:] for text in texts
    ]
    ids += [text.lower() for text in ids] + ["SK" + "0" * 24, "GR1348941" + "A" * 17]
    shaped = [text for text in ids if ID.fullmatch(text)]
    assert len(shaped) > 5
    assert not any(suspicious(text) for text in shaped)
    # Of the other alphabet no needle can be written.
    assert not any(ID.fullmatch(needle) for rule in RULES for needle in rule.needles)


@pytest.mark.parametrize(
    "text",
    [
        "password = get_password(user)",
        "token: str = Field(description='who calls')",
        "secret = os.environ['APP_SECRET_1']",
        "api_key: ${API_KEY}",
        'password: "<your password here>"',
        "token = tokens[index2]",
        "total_tokens: 123456789012",
        "the key: a word that explains everything",
        "scikit: sk-learn-compatible-estimators-for-everyone",
        "git show 0123456789abcdef0123456789abcdef01234567",
        "https://example.com:8080/a@b and http://user@example.com/",
        "task-force-of-the-long-hyphenated-words",
        "uuid 6f1e0b5a-7c1d-4f7e-9a51-0e8b2f6d3c4a",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "Bearer of bad news",
        'secret = "${VAULT_SECRET}"',
        "def test_token_is_checked_twice_2(): ...",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "unit",
    [
        "sk-",
        "eyJ",
        "eyJaaaaaaaa.",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----A-",
        "://a:",
        "://",
        "://:",
        "password=",
        'password="',
        'password="aaaaaaaa',
        "token=aaaaaaaaaaaaaaaa",
        "authorization: ",
        "bearer ",
        "glpat-",
        "SG.",
        "SG.aaaaaaaaaaaaaaaaaa",
        "0123456789abcdef-us",
        "secret: ",
        "key=\\",
        "12345678:AA",
        " ",
        "a",
        "xox",
        "discord.com/api/webhooks/1",
    ],
)
def test_a_hostile_megabyte_takes_linear_time(unit: str) -> None:
    def took_s(size: int) -> float:
        text = unit * (size // len(unit))
        start = time.process_time()
        redact(text)
        return time.process_time() - start

    # Quadratic time would make this minutes, not seconds.
    assert took_s(1_000_000) < 3.0
