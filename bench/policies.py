"""Everything of governance switched on: what it costs beside the same calls without."""

import json


def settings(base: str) -> dict[str, str]:
    """Limits of every kind, redaction both ways, and two places of each model."""
    rules = [
        {"name": "requests", "amount": 1e9, "window": "minute", "by": ["user"]},
        {"name": "tokens", "counts": "tokens", "amount": 1e12, "window": "day", "by": ["instance"]},
        {"name": "spend", "counts": "cost", "amount": 1e6, "window": "month", "by": ["instance"]},
        {"name": "at-once", "counts": "concurrency", "amount": 1e6, "by": ["user"]},
    ]
    places = {
        f"{model}-{name}": {"model": model, "base_url": url, "api_key": "k", "concurrency": 10_000}
        for model, url in (("openai_compatible", f"{base}/v1"), ("claude_sonnet_4_6", base))
        for name in ("east", "west")
    }
    return {
        "ISTHMUS_LIMITS__RULES": json.dumps(rules),
        "ISTHMUS_REDACTION__PROMPT": "redact",
        "ISTHMUS_REDACTION__TOOL_RESULT": "redact",
        "ISTHMUS_REDACTION__ANSWER": "redact",
        "ISTHMUS_ROUTING__DEPLOYMENTS": json.dumps(places),
    }
