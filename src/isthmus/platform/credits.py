"""Asks for the credits that sessions cost, in the words that their clients look for.

Source: agent-platform contract, section 3.5.
"""

from dataclasses import replace
from typing import Final

from isthmus.core.errors import InsufficientCredits, NotEntitled
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import Use
from isthmus.core.ports import Quota
from isthmus.platform.versions import at_least

ON_EXECUTE: Final = "duo_agent_platform_workflow_on_execute"
ON_GRANT: Final = "duo_agent_platform_workflow_on_generate_token"
EXCEEDED: Final = "USAGE_QUOTA_EXCEEDED"
NOT_ENTITLED: Final = "USAGE_QUOTA_NOT_ENTITLED"
_CHECKED_BY_INSTANCES_SINCE: Final = (18, 9, 0)
_SKIP: Final = "skip_usage_cutoff"


class Credits:
    """Without a quota everything is granted.

    Every method raises InsufficientCredits or NotEntitled, with the code that clients read.
    """

    def __init__(self, quota: Quota | None = None) -> None:
        self._quota = quota

    async def for_session(self, caller: Caller, client: ClientInfo, feature: str) -> None:
        """For one stream of a session."""
        await self._check(Use(ON_EXECUTE, feature), caller, client)

    async def for_token(self, caller: Caller, client: ClientInfo, feature: str) -> None:
        """For a user's token; instances that are new enough ask before they want one."""
        version = client.get("x-gitlab-version")
        realm = caller.realm or client.get("x-gitlab-realm")
        if realm == "self-managed" and not at_least(version, _CHECKED_BY_INSTANCES_SINCE):
            await self._check(Use(ON_GRANT, feature), caller, client)

    async def for_metering(self, caller: Caller, client: ClientInfo, feature: str) -> None:
        """For model calls of another server; nobody is let through unasked."""
        extra = {name: value for name, value in caller.extra.items() if name != _SKIP}
        await self._check(Use(ON_EXECUTE, feature), replace(caller, extra=extra), client)

    async def _check(self, use: Use, caller: Caller, client: ClientInfo) -> None:
        if self._quota is None:
            return
        try:
            await self._quota.check(use, caller, client)
        except InsufficientCredits as none_left:
            raise InsufficientCredits(_coded(none_left.detail, EXCEEDED)) from none_left
        except NotEntitled as refused:
            raise NotEntitled(_coded(refused.detail, NOT_ENTITLED)) from refused


def _coded(detail: str, code: str) -> str:
    return f"{detail.rstrip('.')}. Error code: {code}"
