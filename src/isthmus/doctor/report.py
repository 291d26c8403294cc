"""The report of an examination, as text and as JSON; no secret of the settings is in either."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, cast
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct
from pydantic import BaseModel, SecretStr

import isthmus
from isthmus.doctor.finding import RANK, Finding, Verdict
from isthmus.settings import Settings

SCHEMA: Final = 1
"""Of the JSON; it changes when a field goes or changes its meaning, not when one is added."""
EXIT: Final[Mapping[Verdict, int]] = {"ok": 0, "skip": 0, "warn": 1, "fail": 3}
MASK: Final = "**********"
_SECRET: Final = re.compile(r"(?i)key|secret|token|password|authorization|cookie")
_ADDRESS: Final = re.compile(r"[a-z]+://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9_.-]*)?/?")
"""Of a server, with nothing in it that would let anybody in."""
_SHORTEST: Final = 4
_PEM_LINE: Final = 16


class Report(Struct, frozen=True):
    """What `--json` prints."""

    schema: int
    version: str
    verdict: Verdict
    took_s: float
    counts: dict[str, int]
    findings: tuple[Finding, ...]


def report(findings: Iterable[Finding], took_s: float, secrets: Iterable[str] = ()) -> Report:
    """The report of these findings, without any of `secrets`."""
    known = sorted({one for one in secrets if len(one) >= _SHORTEST}, key=len, reverse=True)
    clean = tuple(_without(finding, known) for finding in findings)
    told = {str(name): sum(one.verdict == name for one in clean) for name in RANK}
    verdict: Verdict = "fail" if told["fail"] else "warn" if told["warn"] else "ok"
    return Report(SCHEMA, isthmus.__version__, verdict, round(took_s, 3), told, clean)


def as_json(told: Report) -> str:
    """The report as JSON."""
    return msgspec.json.format(msgspec.json.encode(told)).decode() + "\n"


def as_text(told: Report) -> str:
    """The report for a person: a line for what is well, a paragraph for what is not."""
    width = max((len(one.name) for one in told.findings), default=0)
    lines: list[str] = []
    for one in told.findings:
        verdict = one.verdict.upper() if RANK[one.verdict] else one.verdict
        remark = f": {one.cause}" if one.cause and not RANK[one.verdict] else ""
        lines.append(f"{verdict:<5} {one.name:<{width}}  {one.looked_at}{remark}")
        if RANK[one.verdict]:
            told_of = (("cause", one.cause), ("setting", one.setting), ("mend", one.mend))
            lines += [f"      {label + ':':<9}{text}" for label, text in told_of if text]
    counts = told.counts
    lines.append(
        f"{counts['fail']} faults, {counts['warn']} warnings, {counts['ok']} well, "
        f"{counts['skip']} not looked at, in {told.took_s:.1f} s"
    )
    return "\n".join(lines) + "\n"


def secrets_of(settings: Settings) -> set[str]:
    """Every text in the settings that must not be shown."""
    return set(_secrets(settings, hidden=False))


def _secrets(value: object, *, hidden: bool) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield from _pieces(value.get_secret_value())
    elif isinstance(value, str):
        yield from _pieces(value) if hidden else _password(value)
    else:
        for name, one in _members(value):
            yield from _secrets(one, hidden=hidden or bool(_SECRET.search(name)))


def _members(value: object) -> Iterator[tuple[str, object]]:
    """What a group, a map or a list holds; the names of settings say nothing of what is in them."""
    if isinstance(value, BaseModel):
        yield from (("", getattr(value, name)) for name in type(value).model_fields)
    elif isinstance(value, Mapping):
        held = cast("Mapping[object, object]", value)
        yield from ((str(name), one) for name, one in held.items())
    elif isinstance(value, tuple | list):
        yield from (("", one) for one in cast("list[object]", value))


def _pieces(text: str) -> Iterator[str]:
    """A secret, and what of it would tell: the password in an address, the lines of a key."""
    if not _ADDRESS.fullmatch(text):
        yield text
    yield from _password(text)
    if "-----BEGIN" in text:
        yield from (
            line for line in text.splitlines() if len(line) >= _PEM_LINE and "--" not in line
        )


def _password(text: str) -> Iterator[str]:
    try:
        password = urlsplit(text).password or ""
    except ValueError:
        return
    if password:
        yield from (password, unquote(password))


def _without(finding: Finding, secrets: Iterable[str]) -> Finding:
    changed = {
        name: _masked(getattr(finding, name), secrets)
        for name in ("looked_at", "cause", "setting", "mend")
    }
    return msgspec.structs.replace(finding, **changed)


def _masked(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text
