"""The flows that come with the server."""

from tests.support.session_client import FLOWS

AMBIENT = {
    "code_review": ("1.0.0", "2.0.0-dev"),
    "convert_to_gl_ci": ("1.0.0", "1.0.1"),
    "fix_pipeline": ("1.0.0", "1.0.1", "1.0.2"),
    "gitlab_duo_mention_assistant": ("1.0.0",),
    "project_activity": ("1.0.0",),
    "recommend_reviewers": ("1.0.0",),
    "resolve_sast_vulnerability": ("1.0.0", "1.0.1"),
    "sast_fp_detection": ("1.0.0",),
    "secrets_fp_detection": ("1.0.0",),
    "security_review": ("1.0.0",),
}
PERSONAS = (
    *("analytics_agent", "ci_expert_agent", "duo_planner", "flow_creator", "onboarding_guide"),
    *("orbit_agent", "security_analyst_agent", "support_assistant"),
)
DEVELOPER = {
    "1.0.0": "ambient",
    "2.0.0": "ambient",
    "2.0.0-goal": "chat",
    "2.0.0-interactive": "chat",
    "2.0.0-orbit": "ambient",
    "2.1.0-interactive": "chat",
    "3.0.0": "ambient",
}
EXPERIMENTAL = (
    *("business_context_security_guidelines", "developer", "fix_pipeline"),
    "resolve_dependency_bump",
)


def test_every_flow_of_the_contract_is_there() -> None:
    found = {(one.name, one.version, one.schema): one.flow.environment for one in FLOWS.entries}
    wanted = {
        (name, version, "v1"): "ambient"
        for name, versions in AMBIENT.items()
        for version in versions
    }
    wanted |= {(name, "1.0.0", "v1"): "chat-partial" for name in PERSONAS}
    wanted |= {
        ("duo_permissions_assistant", version, "v1"): "chat-partial"
        for version in ("1.0.0", "2.0.0")
    }
    wanted |= {("developer", version, "v1"): kind for version, kind in DEVELOPER.items()}
    wanted |= {
        ("agentic_chat", "1.0.0", "v1"): "chat",
        ("software_development", "1.0.0", "v1"): "chat",
        ("chat", "1.0.0", "v1"): "chat-partial",
    }
    wanted |= {(name, "1.0.0", "experimental"): "ambient" for name in EXPERIMENTAL}
    assert found == wanted
