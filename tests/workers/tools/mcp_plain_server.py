"""An MCP server of the handshake era, in the standard library alone.

It starts at once, writes down in TRACE what it is told, and does what a well-behaved one
never would:

    MISFITS=1    some of what it lists is no tool
    GATE=FIFO    it begins when somebody has written to this pipe
    JUNK=1       it prints lines that are no messages
    SILENT=1     it never answers
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""Messages; what is in them is the client's affair."""

TEXT: Json = {
    "type": "object",
    "properties": {"text": {"type": "string", "maxLength": 10}},
    "required": ["text"],
    "additionalProperties": False,
}
NOTHING: Json = {"type": "object", "properties": {}}
TOOLS: dict[str, Json] = {
    "echo": {"description": "Say it back.", "inputSchema": TEXT},
    "environment": {"inputSchema": NOTHING, "annotations": {"readOnlyHint": True}},
    "shout": {"inputSchema": NOTHING, "annotations": {"idempotentHint": True}},
    "scream": {"inputSchema": NOTHING},
    "refuse": {"inputSchema": NOTHING},
    "reveal": {"inputSchema": NOTHING},
    "shriek": {"inputSchema": NOTHING},
    "break": {"inputSchema": NOTHING},
    "babble": {"inputSchema": NOTHING},
    "puzzle": {
        "inputSchema": NOTHING,
        "outputSchema": {
            "type": "object",
            "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}},
        },
    },
    "grow": {"inputSchema": NOTHING},
    "wait": {"inputSchema": NOTHING},
    "hang": {"inputSchema": NOTHING},
    "die": {"inputSchema": NOTHING},
    "odd.name": {"inputSchema": NOTHING},
    "n" * 64: {"inputSchema": NOTHING},
    "schemaless": {"inputSchema": {"type": "object", "properties": {"x": {"type": "nothing"}}}},
}

MISFITS: Json = [
    {"name": "untyped", "inputSchema": {}},
    {"name": "mute", "description": 7, "inputSchema": NOTHING},
    {"inputSchema": NOTHING},
    "echo",
]


def trace(entry: Json) -> None:
    with Path(os.environ["TRACE"]).open("a") as file:
        file.write(json.dumps(entry) + "\n")


def say(message: Json) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def text(said: str, *, is_error: bool = False) -> Json:
    return {"content": [{"type": "text", "text": said}], "isError": is_error}


def called(params: Json) -> Json:
    """The result of a call; None: there is none."""
    match params["name"]:
        case "echo":
            return text(params["arguments"]["text"])
        case "environment":
            return text(" ".join(sorted(os.environ)))
        case "reveal" | "shriek":
            return text(f"It is {os.environ['KEY']}.", is_error=params["name"] == "shriek")
        case "babble":
            return {"content": os.environ["KEY"]}
        case "puzzle":
            return {**text("Guess."), "structuredContent": {"a": "a" * 40 + "b"}}
        case "shout":
            return text("x" * 5_000)
        case "scream":
            return text("x" * 5_000, is_error=True)
        case "refuse":
            return text("It is not to be.", is_error=True)
        case "grow":
            TOOLS["grown"] = {"inputSchema": NOTHING}
            say({"method": "notifications/tools/list_changed"})
            return text("It has grown.")
        case "hang":
            time.sleep(60)
        case "die":
            os._exit(3)
        case _:
            pass
    return None


def answer(message: Json) -> None:
    params = message.get("params", {})
    result: Json = None
    match message["method"]:
        case "initialize":
            result = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "plain", "version": "1"},
            }
        case "tools/list":
            result = {"tools": [{"name": name, **said} for name, said in TOOLS.items()]}
            if "MISFITS" in os.environ:
                result["tools"][1:1] = MISFITS
        case "tools/call" if params["name"] != "break":
            result = called(params)
            if result is None:
                return
        case _:
            error = {"code": -32601, "message": "That is not done here."}
            say({"id": message["id"], "error": error})
            return
    say({"id": message["id"], "result": result})


def main() -> None:
    trace({"process_id": os.getpid()})
    if gate := os.environ.get("GATE"):
        Path(gate).read_text()
    if os.environ.get("JUNK"):
        sys.stdout.buffer.write(b'Starting up...\n\xff\xfe\n{"jsonrpc": 1}\n[]\n\n')
        sys.stdout.flush()
    for line in sys.stdin:
        message = json.loads(line)
        trace(message)
        if "id" in message and not os.environ.get("SILENT"):
            answer(message)


if __name__ == "__main__":
    main()
