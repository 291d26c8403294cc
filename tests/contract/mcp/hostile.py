"""An MCP server over its pipes that does what none should; its first argument says what.

It speaks the wire itself: the library would not let it.
"""

import json
import os
import sys
import time
from typing import Any

KIND = sys.argv[1]
STATE = sys.argv[2] if len(sys.argv) > 2 else ""
TOOL = {"name": "echo", "description": "Says it.", "inputSchema": {"type": "object"}}
EVIL = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0"} | message) + "\n")
    sys.stdout.flush()


def text(said: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": said}]}


def tools(params: dict[str, Any]) -> dict[str, Any]:
    match KIND:
        case "endless":
            page = int(params.get("cursor") or 0)
            listed = [TOOL | {"name": f"t{page}_{n}"} for n in range(1_000)]
            return {"tools": listed, "nextCursor": str(page + 1)}
        case "huge_list":
            return {"tools": [TOOL | {"description": "x" * 3_000_000}]}
        case "large_words":
            schema = {"type": "object", "description": "y" * 100_000}
            return {"tools": [TOOL | {"description": "x" * 50_000, "inputSchema": schema}]}
        case "shadowing":
            names = ["file", "a", "a", "", "-", "n" * 300, "x/../y"]
            return {"tools": [TOOL | {"name": name} for name in names]}
        case "schema":
            return {"tools": [TOOL | {"outputSchema": EVIL}]}
        case _:
            return {"tools": [TOOL, TOOL | {"name": "other"}]}


def call(params: dict[str, Any]) -> dict[str, Any]:
    match KIND:
        case "slow":
            time.sleep(60)
        case "dying":
            os._exit(3)
        case "huge_result":
            return text("x" * 3_000_000)
        case "long_result":
            return text("x" * 1_000_000)
        case "schema":
            return text("fine") | {"structuredContent": {"a": "a" * 40 + "!"}}
        case "no_result":
            return {"content": "no"}
        case "noisy":
            sys.stdout.write("this is no message\n{\n[]\n\xff\n")
            sys.stderr.write("s3cret on stderr\n")
            for _ in range(2_000):
                send({"method": "notifications/message", "params": {"level": "info", "data": "x"}})
        case _:
            pass
    return text(f"{params['name']}: {json.dumps(params.get('arguments'))}")


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    match method:
        case "initialize":
            known = {"name": "hostile", "version": "1"}
            said: dict[str, Any] = {"capabilities": {"tools": {}}, "serverInfo": known}
            return {"result": {"protocolVersion": params["protocolVersion"]} | said}
        case "tools/list":
            return {"result": tools(params)}
        case "tools/call":
            return {"result": call(params)}
        case _:
            return {"error": {"code": -32601, "message": f"no {method}"}}


def main() -> None:
    if STATE:
        with open(STATE, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
    if KIND == "dead":
        sys.exit(1)
    if KIND == "mute":
        time.sleep(60)
    if KIND == "lingering" and os.fork() == 0:
        time.sleep(600)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        params: dict[str, Any] = message.get("params") or {}
        send({"id": message["id"]} | answer(message["method"], params))
        if KIND == "flapping" and message["method"] == "tools/list":
            sys.exit(0)


if __name__ == "__main__":
    main()
