"""The tools that chat may ask its caller to run, and who is offered which.

Source: HTTP gateway contract, section 5.2.
"""

import re
from dataclasses import dataclass

from isthmus.auth.scopes import allowed
from isthmus.core.identity import Caller, ClientInfo

_VERSION = re.compile(r"\s*v?(\d{1,6})\.(\d{1,6})(?:\.\d{1,6})?(?![\d.])")
_GATED_SINCE = (17, 5)
"""The first GitLab that can run the gated tools; its pre-releases can as well."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A tool as the model is told of it. `resource` is what it needs to exist.

    `gated` ones run only on a GitLab that is recent enough.
    """

    name: str
    unit_primitive: str
    resource: str
    description: str
    example: str
    gated: bool = False

    def told(self) -> dict[str, str]:
        """The variables of a prompt."""
        return {
            "name": self.name,
            "description": self.description,
            "example": self.example,
            "resource": self.resource,
        }


_EXAMPLE = """Question: {question}
Thought: {thought}
Action: {name}
Action Input: {question}"""


def _reader(
    name: str, unit_primitive: str, resource: str, question: str, *, gated: bool = False
) -> Reader:
    """A tool that reads one kind of record of the instance."""
    return Reader(
        name,
        unit_primitive,
        f"{resource}s",
        f"Reads one {resource}: its text, its state and what was said on it. Use it for "
        f"questions on some {resource} that the user names by number, reference or URL, or is "
        f"looking at. The input is the user's question with that name in it. Do not use it when "
        f"the content of the {resource} is in the conversation already.",
        _EXAMPLE.format(
            question=question,
            thought=f"I have not seen this {resource} yet, so I have to read it first.",
            name=name,
        ),
        gated,
    )


READERS = (
    _reader(
        "build_reader", "ask_build", "CI job", "Why did job 4711 fail at its last step?", gated=True
    ),
    _reader(
        "commit_reader", "ask_commit", "commit", "What does commit 3c9f1ab change?", gated=True
    ),
    _reader(
        "merge_request_reader",
        "ask_merge_request",
        "merge request",
        "Which files does merge request !58 touch?",
        gated=True,
    ),
    _reader("issue_reader", "ask_issue", "issue", "Who is assigned to issue #12?"),
    _reader("epic_reader", "ask_epic", "epic", "How far is epic &7?"),
    _reader("work_item_reader", "ask_work_item", "work item", "What is work item 91 waiting for?"),
    Reader(
        "gitlab_documentation",
        "documentation_search",
        "documentation",
        "Looks in GitLab's documentation. Use it for questions about how GitLab works, how to "
        "set it up or what a feature of it does, whatever you remember of it yourself. The input "
        "is the user's question.",
        _EXAMPLE.format(
            question="How do I cache dependencies between jobs?",
            thought="This is about a feature of GitLab, so its documentation has to say.",
            name="gitlab_documentation",
        ),
    ),
)


def offered(caller: Caller, client: ClientInfo, *, every: bool = False) -> tuple[Reader, ...]:
    """The tools for this caller. `every` spares their scopes, and nothing else.

    A version that is absent or cannot be read counts as too old.
    """
    if caller.debug:
        return READERS
    match = _VERSION.match(client.get("x-gitlab-version"))
    recent = match is not None and (int(match[1]), int(match[2])) >= _GATED_SINCE
    return tuple(
        reader
        for reader in READERS
        if (recent or not reader.gated) and (every or allowed(caller, (reader.unit_primitive,)))
    )
