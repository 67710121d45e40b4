"""Data folders of releases: what a service of that release had when all of it was killed.

`python -m tests.e2e.golden_data 0.1` writes `tests/data/golden-0.1.tar.gz`: the store's files,
and in `shown.json` what clients had been shown. Made with a release's own code, never anew.
"""

import asyncio
import io
import sys
import tarfile
from pathlib import Path
from typing import Final

import orjson

from tests.support.http_client import HttpClient, Json
from tests.support.service_processes import ROOT, Service

FOLDER: Final = ROOT / "tests" / "data"
STORE: Final = "appendonlydir"
SHOWN: Final = "shown.json"
CHUNKS: Final = 120
"""Of the reply that is arriving when everything is killed."""


async def shown(client: HttpClient, context_id: str) -> Json:
    """What a client sees of a context: its state and its log."""
    log = await client.request("GET", f"/api/contexts/{context_id}/log?limit=200")
    return {"state": await client.state(context_id), "log": log.body["events"]}


async def use(service: Service) -> dict[str, Json]:
    """Leave contexts in many situations; what was shown of each."""
    async with HttpClient(service.url) as client:
        chat = await client.create(title="Chat", labels={"kind": "chat"})
        first = await client.send(chat, "First", key="first", prefer="wait=20")
        await client.send(chat, "Second", prefer="wait=20")
        edited = first.context["messages"][-2]["id"]
        body = {"message_id": edited, "content": "First, edited"}
        await client.act(chat, "edit_message", body, prefer="wait=20")

        approval = await client.create(title="Approval")
        tool = '/tool calculator {"expression": "6 * 7"}'
        await client.send(approval, tool, prefer="wait=20")

        queue = await client.create(title="Queue")
        await client.act(queue, "pause")
        await client.send(queue, "Waits", prefer="respond-async")
        await client.until_state(queue, lambda state: state["status"] == "paused")

        long = await client.create(title="Long")
        for number in range(12):
            await client.send(long, f"Message {number}", prefer="wait=20")

        streaming = await client.create(title="Streaming")
        await client.send(streaming, f"/chunks {CHUNKS} 20")
        async with client.watching(streaming) as seen:
            await seen.until(lambda stream: len(stream.of("reply-delta")) >= 3)
        return {
            "chat": await shown(client, chat),
            "approval": await shown(client, approval),
            "queue": await shown(client, queue),
            "long": await shown(client, long),
            "streaming": await shown(client, streaming),
            "first": first.body["action"],
        }


def make(release: str) -> Path:
    """Write the data folder of the release whose code this is."""
    file = FOLDER / f"golden-{release}.tar.gz"
    with Service(standby=False, scripted_chunk_ms=0) as service:
        told = orjson.dumps(asyncio.run(use(service)), option=orjson.OPT_INDENT_2)
        service.kill_everything()
        with tarfile.open(file, "x:gz") as archive:
            archive.add(service.data / STORE, STORE, filter=_nobodys)
            about = tarfile.TarInfo(SHOWN)
            about.size = len(told)
            archive.addfile(about, io.BytesIO(told))
    return file


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the names and numbers of whoever has made it."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    sys.stdout.write(f"{make(sys.argv[1])}\n")
