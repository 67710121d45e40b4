"""P11: what kills three workers goes to the dead letters; who was beside it loses nothing."""

from pathlib import Path

import pytest

from tests.support.http_client import HttpClient, Json
from tests.support.invariants import answer_faults, text_faults
from tests.support.service_processes import Service

pytestmark = pytest.mark.timeout(240)

DEADLY = '''
import os
import re
import workers.batch as batch
from workers.tools import tool

apply = batch.transition

def deadly(state, event):
    if getattr(event, "content", "") == "poison":
        with open(os.environ["DEATHS"], "a") as deaths:
            deaths.write("action\\n")
        os._exit(9)
    return apply(state, event)

if os.path.exists(os.environ["DEADLY"]):
    batch.transition = deadly

@tool(effect="none", timeout_s=5)
async def crash(text: str) -> str:
    """End the process that runs it."""
    with open(os.environ["DEATHS"], "a") as deaths:
        deaths.write("tool\\n")
    os._exit(9)

@tool(effect="none", timeout_s=5)
async def hang(text: str) -> str:
    """Never let go of the process that runs it."""
    with open(os.environ["DEATHS"], "a") as deaths:
        deaths.write("tool\\n")
    re.match("(a+)+$", "a" * 64 + "b")
    return ""
'''
STALL_S_MAX = 5
"""A worker that starts on a busy machine imports for longer than a second, its loop stuck."""
BURIED_S_MAX = 100.0
"""Three stalls, and three starts of a worker."""
CHUNKS = 150
WHOLE = "".join(f"chunk {number} " for number in range(1, CHUNKS + 1))


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose tool, and whose bug, end the worker; `deadly` switches the bug on."""
    folder = tmp_path / "packages"
    metadata = folder / "deadly_tool-1.dist-info"
    metadata.mkdir(parents=True)
    (folder / "deadly_tool.py").write_text(DEADLY)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly-tool\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[contextd.tools]\ncrash = deadly_tool:crash\nhang = deadly_tool:hang\n"
    )
    (tmp_path / "deadly").touch()
    monkeypatch.setenv("DEATHS", str(tmp_path / "deaths"))
    monkeypatch.setenv("DEADLY", str(tmp_path / "deadly"))
    return folder


async def letters_of(client: HttpClient) -> list[Json]:
    letters: list[Json] = (await client.request("GET", "/admin/dead_letters")).body[
        "dead_letters"
    ]
    return letters


async def test_p11_an_action_that_kills_three_workers_is_buried_and_can_be_retried(
    packages: Path, tmp_path: Path
) -> None:
    with Service(pythonpath=packages, workers=1) as service:
        async with HttpClient(service.url) as client:
            beside, poisoned = await client.create(), await client.create()
            async with client.watching(beside) as seen:
                await client.send(beside, f"/chunks {CHUNKS} 60")
                await seen.until(lambda stream: len(stream.of("reply-delta")) >= 3)
                await client.act(
                    poisoned, "send_message", {"content": "poison"}, prefer="respond-async"
                )
                failed = await client.until_state(
                    poisoned, lambda context: context["status"] == "failed"
                )
                final = await client.rested(beside)
                await seen.until(lambda stream: stream.cursor == final["cursor"])
            assert (tmp_path / "deaths").read_text() == "action\n" * 3
            assert failed["error"]["code"] == "poison_action"
            assert final["messages"][-1]["content"] == WHOLE
            assert answer_faults(final) == []
            assert text_faults(seen.frames, final) == []

            (letter,) = await letters_of(client)
            assert (letter["context_id"], letter["action"]) == (poisoned, "send_message")
            assert letter["event"]["content"] == "poison"
            assert "ended 3 workers in a row" in letter["cause"]

        # The bug is mended, the processes are replaced, and the letter is tried again.
        (tmp_path / "deadly").unlink()
        service.kill_everything()
        service.start()
        async with HttpClient(service.url) as client:
            path = f"/admin/dead_letters/{letter['id']}/retry"
            assert (await client.request("POST", path)).status == 202
            done = await client.rested(poisoned)
            assert [m["content"] for m in done["messages"] if m["role"] == "user"] == ["poison"]
            assert await letters_of(client) == []


@pytest.mark.parametrize("tool", ["crash", "hang"])
async def test_p11_a_tool_that_kills_three_workers_fails_its_turn_only(
    tool: str, packages: Path, tmp_path: Path
) -> None:
    with Service(pythonpath=packages, workers=1, loop_stall_s_max=STALL_S_MAX) as service:
        async with HttpClient(service.url) as client:
            beside, poisoned = await client.create(), await client.create()
            await client.send(beside, f"/chunks {CHUNKS} 60")
            await client.send(poisoned, f'/tool {tool} {{"text": "x"}}', prefer="wait=20")
            (call,) = (await client.state(poisoned))["pending_tool_calls"]
            await client.act(poisoned, "approve_tools", {"tool_call_ids": [call["id"]]})
            failed = await client.until_state(
                poisoned,
                lambda context: context["status"] == "failed",
                within_s=BURIED_S_MAX,
            )
            assert (tmp_path / "deaths").read_text() == "tool\n" * 3
            assert failed["error"]["code"] == "poison_action"
            assert (await client.rested(beside))["messages"][-1]["content"] == WHOLE
            (letter,) = await letters_of(client)
            assert (letter["context_id"], letter["action"]) == (poisoned, None)
            dropped = await client.request("DELETE", f"/admin/dead_letters/{letter['id']}")
            assert dropped.status == 204
            assert await letters_of(client) == []
            await client.act(poisoned, "reset")
            await client.send(poisoned, "hello", prefer="wait=20")
            await client.rested(poisoned)
