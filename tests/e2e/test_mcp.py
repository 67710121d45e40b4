"""P9 with the tools of a real MCP server: what was approved runs, after a restart as well."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.http_client import HttpClient, Json
from tests.support.service_processes import Service
from verify.chaos.processes import command_line

pytestmark = pytest.mark.timeout(240)

CONVERT = (
    "/tool time__convert_time "
    '{"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "UTC"}'
)


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    """A file that declares a server from PyPI, for one role only."""
    file = tmp_path / "mcp.json"
    server = {
        "command": sys.executable,
        "args": ["-m", "mcp_server_time", "--local-timezone", "UTC"],
        "approval": "always",
        "roles": ["traveller"],
    }
    file.write_text(json.dumps({"mcpServers": {"time": server}}))
    return file


async def waiting(client: HttpClient, context_id: str) -> Json:
    """The call that waits for a person, once the server has told its tools."""
    for _ in range(200):
        asked = await client.send(context_id, CONVERT, prefer="wait=20")
        if calls := asked.context["pending_tool_calls"]:
            assert asked.context["status"] == "awaiting_tool_approval"
            return calls[0]
        assert asked.context["status"] == "idle"
    raise AssertionError("the server's tools were never offered")


async def test_p9_a_tool_of_an_mcp_server_runs_once_it_is_approved_even_after_a_restart(
    declared: Path,
) -> None:
    policy = {"mode": "auto_loop"}
    with Service(mcp_servers=declared, standby=False) as service:
        async with HttpClient(service.url) as client:
            context_id = await client.create(
                config={"role": "traveller", "tool_policy": policy}
            )
            call = await waiting(client, context_id)
            assert call["name"] == "time__convert_time"

            other = await client.create(config={"tool_policy": policy})
            refused = await client.send(other, CONVERT, prefer="wait=20")
            told = [m["content"] for m in refused.context["messages"] if m["role"] == "tool"]
            assert told == ["There is no tool called 'time__convert_time'."]

        service.kill_everything()
        service.start()

        async with HttpClient(service.url) as client:
            approval = {"tool_call_ids": [call["id"]]}
            done = await client.act(context_id, "approve_tools", approval, prefer="wait=30")
            (*_, result) = [m for m in done.context["messages"] if m["role"] == "tool"]
            assert json.loads(result["content"])["time_difference"] == "-9.0h"
            assert json.loads(result["content"])["target"]["datetime"].endswith(
                "03:00:00+00:00"
            )
            assert result["metadata"]["untrusted"] is True
            servers = [p for p in service.everything() if "mcp_server_time" in command_line(p)]
            assert len(servers) == 1
