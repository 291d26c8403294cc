"""How long an action may take, by what it does."""

import pytest

from isthmus.contract.contract_pb2 import Action
from isthmus.platform.deadlines import action_s
from isthmus.settings import PlatformSettings

SLOW = {"runCommand", "runShellCommand", "runGitCommand", "runMCPTool"}
KINDS = [field.name for field in Action.DESCRIPTOR.oneofs_by_name["action"].fields]


@pytest.mark.parametrize("kind", KINDS)
def test_what_runs_something_has_the_longer_limit(kind: str) -> None:
    settings = PlatformSettings(action_s=600, quick_action_s=120)
    assert action_s(kind, settings) == (600 if kind in SLOW else 120)
    short = PlatformSettings(action_s=5, quick_action_s=120)
    assert action_s(kind, short) == 5
