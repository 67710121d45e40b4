"""P9: a tool call waits for a person whatever dies, and what was approved runs once."""

import asyncio
from pathlib import Path

import pytest

from tests.support.http_client import HttpClient, Json
from tests.support.service_processes import Service

pytestmark = pytest.mark.timeout(240)

ONCE_TOOL = '''
import os
from workers.tools import tool

@tool(effect="once", timeout_s=5)
async def stamp(text: str) -> str:
    """Write a line into a file: every run leaves a trace."""
    with open(os.environ["STAMPS"], "a") as stamps:
        stamps.write(text + "\\n")
    return "Stamped."
'''


@pytest.fixture
def installed_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A package with a tool declared `once`, as pip would install it; and what it writes."""
    packages, stamps = tmp_path / "packages", tmp_path / "stamps"
    metadata = packages / "stamp_tool-1.dist-info"
    metadata.mkdir(parents=True)
    (packages / "stamp_tool.py").write_text(ONCE_TOOL)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stamp-tool\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[contextd.tools]\nstamp = stamp_tool:stamp\n")
    monkeypatch.setenv("STAMPS", str(stamps))
    return packages, stamps


def tool_messages(context: Json) -> list[str]:
    return [m["content"] for m in context["messages"] if m["role"] == "tool"]


async def kinds_logged(client: HttpClient, context_id: str) -> list[str]:
    """Kinds of all events of a context, by the poll that gives events."""
    epoch = (await client.state(context_id))["cursor"].split(".")[0]
    path = f"/api/contexts/{context_id}/state?after={epoch}.1.0"
    events = (await client.request("GET", path)).body["events"]
    return [event["event"] for event in events]


async def test_p9_an_approval_outlives_kill_9_of_every_process_and_the_tool_runs_once(
    installed_tool: tuple[Path, Path],
) -> None:
    packages, stamps = installed_tool
    with Service(pythonpath=packages, standby=False) as service:
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            asked = await client.send(
                context_id,
                '/tool notes {"action": "add", "text": "milk"}\n/tool stamp {"text": "paid"}',
                prefer="wait=20",
            )
            assert asked.context["status"] == "awaiting_tool_approval"
            waiting = asked.context["pending_tool_calls"]
            assert [call["name"] for call in waiting] == ["notes", "stamp"]

        service.kill_everything()
        service.start()

        async with HttpClient(service.url) as client:
            still = await client.state(context_id)
            assert still["status"] == "awaiting_tool_approval"
            assert still["pending_tool_calls"] == waiting
            assert still["cursor"].split(".")[1:] == asked.context["cursor"].split(".")[1:]
            assert not stamps.exists()

            body: Json = {"tool_call_ids": [call["id"] for call in waiting]}
            async with asyncio.TaskGroup() as group:
                approvals = [
                    group.create_task(
                        client.act(context_id, "approve_tools", body, key=key, prefer="wait=20")
                    )
                    for key in ("same", "same", "another", None)
                ]
            statuses = [one.result().status for one in approvals]
            assert statuses[0] == statuses[1]
            assert 200 in statuses
            # A late one finds nothing open any more, which the contract calls 400.
            assert set(statuses) <= {200, 400}

            done = await client.rested(context_id)
            late = await client.act(context_id, "approve_tools", body, key="same")
            assert late.status == statuses[0]
            assert late.headers["Idempotent-Replayed"] == "true"
            assert sorted(tool_messages(done)) == ["Noted.", "Stamped."]
            assert stamps.read_text() == "paid\n"
            asked = await client.send(
                context_id, '/tool notes {"action": "list"}', prefer="wait=20"
            )
            listing = {"tool_call_ids": [asked.context["pending_tool_calls"][0]["id"]]}
            await client.act(context_id, "approve_tools", listing)
            final = await client.rested(context_id)
            assert tool_messages(final)[-1] == '{"found":1,"notes":["milk"]}'
            kinds = await kinds_logged(client, context_id)
            assert kinds.count("tool-returned") == 3
            assert kinds.count("tool-restarted") == 0


async def test_p9_a_once_tool_that_dies_in_mid_run_is_not_run_again_but_asked_about(
    installed_tool: tuple[Path, Path],
) -> None:
    packages, stamps = installed_tool
    slow = ONCE_TOOL.replace('return "Stamped."', "await asyncio.sleep(60)").replace(
        "import os", "import asyncio, os"
    )
    (packages / "stamp_tool.py").write_text(slow.replace("timeout_s=5", "timeout_s=120"))
    with Service(pythonpath=packages, standby=False) as service:
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            asked = await client.send(
                context_id, '/tool stamp {"text": "paid"}', prefer="wait=20"
            )
            call_id = asked.context["pending_tool_calls"][0]["id"]
            approval = {"tool_call_ids": [call_id]}
            await client.act(context_id, "approve_tools", approval, key="k")
            await client.until_state(context_id, lambda _: stamps.exists())

            service.kill_everything()
            service.start()

            unknown = await client.until_state(
                context_id, lambda context: context["status"] == "awaiting_tool_approval"
            )
            call = unknown["pending_tool_calls"][0]
            assert (call["id"], call["approval_status"]) == (call_id, "outcome_unknown")
            # The approval from before was for one run, and its key is used up.
            again = await client.act(context_id, "approve_tools", approval, key="k")
            assert again.headers["Idempotent-Replayed"] == "true"
            denial = {"deny": [{"id": call_id, "reason": "It was paid."}]}
            denied = await client.act(context_id, "approve_tools", denial, prefer="wait=20")
            assert denied.context["status"] == "idle"
            assert stamps.read_text() == "paid\n"
