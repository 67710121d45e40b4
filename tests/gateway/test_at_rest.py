"""Whole turns over an encrypted store: the same answers, and no word of them on any disk."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from redis import Redis

from tests.support.service import serving
from tests.support.service_processes import free_port
from tests.support.store_server import StoreServer
from tests.support.webhook_receiver import SECRET, Receiver

CANARY: Final = "kestrel7781"
pytestmark = pytest.mark.real_only


@pytest.fixture
def own_store() -> Iterator[StoreServer]:
    """A server whose files are looked through."""
    with StoreServer() as server:
        yield server


def readable(folder: Path) -> list[str]:
    """Files in which the canary stands, as it is or in base64."""
    words = [CANARY.encode()]
    for shift in range(3):
        words.append(base64.b64encode(b"x" * shift + words[0] + b"xx")[4:-4])
    found: list[str] = []
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found += [path.name for word in words if word in content]
    return found


async def test_after_turns_tools_notes_and_webhooks_no_file_shows_what_was_said(
    own_store: StoreServer, tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    path.write_text(f"k {base64.b64encode(bytes(range(32))).decode()}\n")
    client: Any = Redis(unix_socket_path=str(own_store.socket))  # its types are partial
    listener = client.pubsub()
    listener.psubscribe("*")
    async with (
        Receiver(free_port()).serving() as receiver,
        serving(
            own_store.url,
            gateways=2,
            storage={
                "encryption": f"file:{path}",
                "snapshots": f"json:{own_store.data / 'snapshots'}",
                "webhook_url": receiver.url,
                "webhook_secret": SECRET,
            },
        ) as service,
    ):
        one, two = service.clients
        config = {"system_prompt": f"Mind the {CANARY}."}
        context_id = await one.create(title=CANARY, config=config, labels={"about": CANARY})
        async with two.stream(context_id) as stream:
            said = await one.say(context_id, f"What of the {CANARY}?")
            assert CANARY in said.context["messages"][-1]["content"]
            frames = await stream.take("reply-ended")
            assert CANARY in str([frame.data for frame in frames])
        call = f'/tool notes {{"action": "add", "text": "{CANARY}"}}'
        await one.say(context_id, call)
        pending = (await one.state(context_id))["pending_tool_calls"]
        ids = [each["id"] for each in pending]
        await one.act(context_id, "approve_tools", {"tool_call_ids": ids}, Prefer="wait=20")
        await one.send("POST", "/api/notes", {"text": f"A {CANARY} hovers."})
        found = await one.send(
            "POST", "/api/chat/semantic", {"query": f"Does the {CANARY} hover?"}
        )
        assert CANARY in str(found.json["sources"])
        exported = await two.get(f"/api/contexts/{context_id}/export")
        assert CANARY in exported.body.decode()
        copied = await one.send("POST", "/api/contexts/import", orjson.loads(exported.body))
        assert copied.status == 201
        gone = await one.create(message={"content": f"Forget the {CANARY}."})
        await one.until(gone, "idle")
        assert (await one.send("DELETE", f"/api/contexts/{gone}")).status == 200
        told = await receiver.until(3)
        assert CANARY in str([one.body for one in told])
        client.save()
        assert readable(own_store.data) == []
        heard = 0
        while (message := listener.get_message(timeout=0.1)) is not None:
            assert CANARY not in str(message)
            heard += message["type"] == "pmessage"
        assert heard > 10
        before = await one.state(context_id)
    own_store.restart()
    async with serving(own_store.url, storage={"encryption": f"file:{path}"}) as service:
        assert (await service.client.state(context_id))["messages"] == before["messages"]
    assert readable(own_store.data) == []
