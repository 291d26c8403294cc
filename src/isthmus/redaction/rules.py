"""Which texts look like secrets, as data; pure. A match becomes `[REDACTED]`.

Every pattern is linear in the text: a try that fails stops after a bounded number of characters,
or begins only where a run of its characters begins.
"""

import re
from dataclasses import dataclass
from typing import Final

MARK: Final = "[REDACTED]"
ID: Final = re.compile(r"[0-9a-f.:\[\]-]*+|[0-9A-HJKMNP-TV-Z]{26}")
"""Hex ids, UUIDs, addresses and ULIDs: what is wholly one of them matches no rule.

Such texts are new in each request, so this is asked before anything that costs more. Of the first
alphabet no needle can be written; for each rule a ULID is too short or lacks a character.
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """One shape of secret.

    `needles` are texts of which one is in every match: searching for them is far cheaper than the
    pattern. `keep` is the template of what stays, with groups of the pattern around MARK. `folded`
    needles are lower case and stand for any case.
    """

    name: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    keep: str = MARK
    folded: bool = False


def _key(name: str, *needles: str, pattern: str) -> Rule:
    """A token with a prefix of its own, which may not continue another word."""
    return Rule(name, needles, re.compile(rf"(?<![A-Za-z0-9]){pattern}"))


_KEYWORD = (
    r"(?:pass(?:word|wd|phrase)|secret|token|(?:api|access|account|auth|client|encryption|private"
    r"|signing|secret|shared)[_-]?(?:key|secret)|credentials?)"
)
_ASSIGNED = r"\\?[\"']?[ \t]{0,4}(?::=|=>|=|:)[ \t]{0,4}"
# Not a secret: a name of one, a template's hole, a mask.
_HOLE = r"(?![$<{%*\[]|x{6}|your[_-]|example|changeme|placeholder|redacted)"

RULES: tuple[Rule, ...] = (
    Rule(
        "private key",
        ("PRIVATE KEY",),
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:[A-Za-z0-9+/=\s\\:,]|-(?!----))*+"
            r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
        ),
    ),
    Rule(
        "web token",
        ("eyJ",),
        re.compile(
            r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+)?"
        ),
    ),
    Rule(
        "password in a URL",
        ("@",),
        re.compile(r"(://[^\s/:@\"'<>]{0,128}:)[^\s/@\"'<>]{1,256}@"),
        rf"\1{MARK}@",
    ),
    Rule(
        "authorization",
        ("bearer ", "authorization"),
        re.compile(
            r"\b((?:proxy-)?authorization\\?[\"']?[ \t]{0,4}[:=][ \t]{0,4}\\?[\"']?"
            r"(?:[a-z]{3,12} )?"
            r"|bearer )[A-Za-z0-9+/=._~-]{12,}",
            re.IGNORECASE,
        ),
        rf"\1{MARK}",
        folded=True,
    ),
    _key("AWS key id", "AKIA", "ASIA", pattern=r"(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])"),
    _key("Google key", "AIza", pattern=r"AIza[A-Za-z0-9_-]{35}"),
    _key("Google token", "ya29.", pattern=r"ya29\.[A-Za-z0-9_-]{20,}"),
    _key("Google secret", "GOCSPX-", pattern=r"GOCSPX-[A-Za-z0-9_-]{20,}"),
    _key(
        "GitLab token",
        "gl",
        pattern=r"gl(?:pat|oas|dt|rtr?|cbt|ptt|ft|imt|agent|soat|ffct|wt)-[A-Za-z0-9_.-]{20,}",
    ),
    _key("GitLab runner token", "GR1348941", pattern=r"GR1348941[A-Za-z0-9_-]{20,}"),
    _key(
        "GitHub token",
        "gh",
        pattern=r"gh[pousr]_[A-Za-z0-9]{36,}",
    ),
    _key("GitHub fine token", "github_pat_", pattern=r"github_pat_[A-Za-z0-9_]{22,}"),
    _key("npm token", "npm_", pattern=r"npm_[A-Za-z0-9]{36,}"),
    _key("PyPI token", "pypi-A", pattern=r"pypi-A[A-Za-z0-9_-]{40,}"),
    _key("Slack token", "xox", "xapp-", pattern=r"(?:xox[a-z]|xapp)-[A-Za-z0-9-]{12,}"),
    _key(
        "Slack hook",
        "hooks.slack.com/",
        pattern=r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,}",
    ),
    _key(
        "Discord hook",
        "/api/webhooks/",
        pattern=r"discord(?:app)?\.com/api/webhooks/\d{6,24}/[A-Za-z0-9_-]{20,}",
    ),
    _key(
        "Stripe key",
        *("_live_", "_test_", "whsec_"),
        pattern=r"(?:[spr]k_(?:live|test)_|whsec_)[A-Za-z0-9]{16,}",
    ),
    _key("Anthropic key", "sk-", pattern=r"sk-ant-[A-Za-z0-9_-]{20,}"),
    _key(
        "OpenAI key",
        "sk-",
        pattern=r"sk-(?:(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{32,})",
    ),
    _key("Hugging Face token", "hf_", pattern=r"hf_[A-Za-z0-9]{30,}"),
    _key("SendGrid key", "SG.", pattern=r"SG\.[A-Za-z0-9_-]{16,}+\.[A-Za-z0-9_-]{16,}+"),
    _key("Twilio key", "SK", pattern=r"SK[0-9a-f]{32}(?![A-Za-z0-9])"),
    _key("Mailchimp key", "-us", pattern=r"[0-9a-f]{32}-us\d{1,2}(?![A-Za-z0-9])"),
    _key("Telegram token", ":AA", pattern=r"\d{8,10}:AA[A-Za-z0-9_-]{32,}"),
    _key("DigitalOcean token", "_v1_", pattern=r"do[opr]_v1_[a-f0-9]{64}"),
    Rule(
        "assigned text",
        ("pass", "secret", "token", "key", "credential"),
        re.compile(
            rf"({_KEYWORD}{_ASSIGNED}\\?[\"']){_HOLE}[^\s\"'\\\[(<>{{}}$]{{6,}}+(?=\\?[\"'])",
            re.IGNORECASE,
        ),
        rf"\1{MARK}",
        folded=True,
    ),
    Rule(
        "assigned word",
        ("pass", "secret", "token", "key", "credential"),
        re.compile(
            # A bare word is taken only with a digit in it, and when no call or index follows.
            rf"({_KEYWORD}{_ASSIGNED}){_HOLE}(?=[A-Za-z+/_.~-]{{0,64}}\d)"
            r"[A-Za-z0-9+/_.~-]{12,}+={0,2}(?![\w(\[])",
            re.IGNORECASE,
        ),
        rf"\1{MARK}",
        folded=True,
    ),
)


def suspicious(text: str) -> bool:
    """Whether `redact` would change this text."""
    return any(rule.pattern.search(text) is not None for rule in _near(text))


def redact(text: str) -> str:
    """`text` with everything that looks like a secret replaced."""
    for rule in _near(text):
        text = rule.pattern.sub(rule.keep, text)
    return text


def _near(text: str) -> list[Rule]:
    """The rules of which a needle is in the text, in order."""
    lowered = text.lower()
    found: dict[int, Rule] = {}
    for needle, places in _EXACT:
        if needle in text:
            found.update(places)
    for needle, places in _FOLDED:
        if needle in lowered:
            found.update(places)
    return [found[place] for place in sorted(found)] if found else []


_Places = tuple[tuple[int, Rule], ...]


def _index(*, folded: bool) -> tuple[tuple[str, _Places], ...]:
    """Each needle once, with the rules that it belongs to."""
    places: dict[str, _Places] = {}
    for place, rule in enumerate(RULES):
        for needle in rule.needles if rule.folded is folded else ():
            places[needle] = (*places.get(needle, ()), (place, rule))
    return tuple(places.items())


_EXACT = _index(folded=False)
_FOLDED = _index(folded=True)
