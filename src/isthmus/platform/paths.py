"""Which paths no tool may touch: secrets, tool settings, anything outside the workspace.

Source: agent-platform contract, section 8.10. The executor keeps its own jail behind this gate.
"""

import re
from fnmatch import fnmatchcase

MAX_CHARS = 4096
_MALFORMED = re.compile(r"[\x00-\x1f]")
_TRAVERSAL = re.compile(r"\.\.[/\\]|%2e%2e|%252e%252e", re.IGNORECASE)
_ANYWHERE = (
    *(".docker", ".emacs.d", ".env.*", ".env", ".git", ".gnupg", ".idea", ".metadata"),
    *(".settings", ".ssh", ".sublime-project", ".sublime-workspace", ".vim", ".vimrc", ".vscode"),
    "dockerfile.secrets",
)
_SEQUENCES = ((".config", "nvim"), (".gitlab", "duo"), (".gitlab", "rules"))
_ALLOWED_NAMES = frozenset({".env.example"})
_SKILLS = (
    (".agents", "skills"),
    (".gitlab", "duo", "skills"),
    (".config", "gitlab", "duo", "skills"),
    (".gitlab", "duo", "plugins"),
    (".config", "gitlab", "duo", "plugins"),
)
_DRIVE = re.compile(r"[A-Za-z]:")


def refusal(path: str, *, reading: bool) -> str:
    """Why a tool may not touch `path`, in words for the model; empty when it may."""
    if len(path) > MAX_CHARS or _MALFORMED.search(path):
        return "Access denied: the path is malformed."
    if traverses(path):
        return "Access denied: the path leaves the workspace."
    absolute, listed = _absolute(path), denied(path)
    if not absolute and not listed:
        return ""
    segments = _segments(path)
    skills = reading and any(_has_sequence(segments, names) for names in _SKILLS)
    if absolute and not skills:
        return "Access denied: the path must be relative to the workspace."
    if listed and not (skills and _only_skill_folder(segments)):
        return f"Access denied: {path!r} is protected."
    return ""


def traverses(text: str) -> bool:
    """Whether the text climbs out of a folder, plainly or percent-encoded."""
    if _TRAVERSAL.search(text):
        return True
    return ".." in text and ".." in re.split(r"[/\\]", text.strip())


def denied(path: str) -> bool:
    """Whether the path, or a folder above it, is on the list; letters of any case count alike."""
    text = path.strip().lower().removeprefix("./")
    # Listings are long: a path without a dotted name needs no closer look.
    if not (text.startswith(".") or "/." in text or "\\." in text or "dockerfile" in text):
        return False
    segments = _segments(text)
    return any(_denied_name(name) for name in segments) or any(
        _has_sequence(segments, names) for names in _SEQUENCES
    )


def _segments(path: str) -> tuple[str, ...]:
    # Windows drops trailing dots and spaces and reads `name:stream` as a part of `name`.
    parts = (part.split(":", 1)[0].rstrip(". ") for part in re.split(r"[/\\]", path.lower()))
    return tuple(part for part in parts if part)


def _denied_name(name: str) -> bool:
    if name in _ALLOWED_NAMES:
        return False
    return any(fnmatchcase(name, pattern) for pattern in _ANYWHERE)


def _has_sequence(segments: tuple[str, ...], names: tuple[str, ...]) -> bool:
    width = len(names)
    return any(segments[at : at + width] == names for at in range(len(segments) - width + 1))


def _only_skill_folder(segments: tuple[str, ...]) -> bool:
    """Denied only because skills live in `.gitlab/duo`, not for another reason."""
    rules = (".gitlab", "rules")
    return not any(_denied_name(name) for name in segments) and not _has_sequence(segments, rules)


def _absolute(path: str) -> bool:
    text = path.strip()
    return text.startswith(("/", "\\", "~")) or bool(_DRIVE.match(text))
