"""Credits for sessions, tokens and metering, and the codes that clients read."""

import pytest

from isthmus.core.errors import InsufficientCredits, NotEntitled
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import Use
from isthmus.platform.credits import Credits
from tests.support.quota import Counting

CALLER = Caller("i", realm="self-managed", extra={"skip_usage_cutoff": True, "a": 1})


@pytest.mark.parametrize(
    ("refusal", "detail"),
    [
        (InsufficientCredits("None left."), "None left. Error code: USAGE_QUOTA_EXCEEDED"),
        (NotEntitled("Not for you"), "Not for you. Error code: USAGE_QUOTA_NOT_ENTITLED"),
    ],
)
async def test_a12_25_a_refusal_bears_the_code_that_clients_test_for(
    refusal: InsufficientCredits | NotEntitled, detail: str
) -> None:
    quota = Counting(refusal)
    with pytest.raises(type(refusal)) as caught:
        await Credits(quota).for_session(CALLER, ClientInfo(), "chat")
    assert caught.value.detail == detail
    assert quota.asked == [Use("duo_agent_platform_workflow_on_execute", "chat")]


async def test_without_a_portal_everything_is_granted() -> None:
    credits_ = Credits()
    await credits_.for_session(CALLER, ClientInfo(), "chat")
    await credits_.for_token(CALLER, ClientInfo(), "chat")
    await credits_.for_metering(CALLER, ClientInfo(), "chat")


@pytest.mark.parametrize(
    ("realm", "version", "asked"),
    [
        ("self-managed", "18.8.9", True),
        ("self-managed", "", True),
        ("self-managed", "nonsense", True),
        ("self-managed", "18.9.0-ee", False),
        ("self-managed", "19.1.0", False),
        ("saas", "18.0.0", False),
    ],
)
async def test_a_token_is_checked_here_only_for_old_instances(
    realm: str, version: str, asked: bool
) -> None:
    quota = Counting()
    client = ClientInfo({"x-gitlab-version": version})
    await Credits(quota).for_token(Caller("i", realm=realm), client, "chat")
    use = Use("duo_agent_platform_workflow_on_generate_token", "chat")
    assert quota.asked == ([use] if asked else [])


async def test_metering_heeds_no_claim_that_skips_the_check() -> None:
    quota = Counting()
    await Credits(quota).for_metering(CALLER, ClientInfo(), "code_review")
    (caller,) = quota.callers
    assert caller.extra == {"a": 1}
