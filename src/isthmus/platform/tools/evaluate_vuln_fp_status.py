"""Whether a finding was judged a false alarm already."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from isthmus.core.errors import ToolRefused
from isthmus.platform.instance_text import at
from isthmus.platform.tool import Client, Tool

_FALSE = frozenset({"DETECTED_AS_FP", "FALSE_POSITIVE"})


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    vulnerability_json: Annotated[
        str, Meta(description="The details of the vulnerability, as get_vulnerability_details has.")
    ]


async def run(args: Args, _: Client) -> str:
    """`skip` when it is a false alarm or was dismissed, else `proceed`. Raises ToolRefused."""
    try:
        found = msgspec.json.decode(args.vulnerability_json, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ToolRefused("`vulnerability_json` is no JSON object.") from error
    judged = str(at(found, "latestFlag.status") or "").upper()
    state = str(at(found, "state") or "").upper()
    return "skip" if judged in _FALSE or state in ("DISMISSED", "RESOLVED") else "proceed"


TOOL = Tool(
    name="evaluate_vuln_fp_status",
    description="Tell from a vulnerability's details whether it still has to be looked at.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda _: "See whether the finding was judged already",
    trust="internal",
)
