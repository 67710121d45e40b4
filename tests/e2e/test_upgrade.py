"""Today's code on the data folders of releases (tests/e2e/golden_data.py)."""

import tarfile
from pathlib import Path
from typing import cast

import orjson
import pytest
from typing_extensions import override

from tests.e2e.golden_data import CHUNKS, FOLDER, SHOWN, STORE, shown
from tests.support.http_client import HttpClient, Json
from tests.support.invariants import answer_faults
from tests.support.service_processes import Service
from verify.records import number_of

pytestmark = pytest.mark.timeout(240)

GOLDEN = sorted(FOLDER.glob("golden-*.tar.gz"))


class Upgraded(Service):
    """A service that begins on a copy of what an older one has left."""

    def __init__(self, golden: Path) -> None:
        super().__init__(standby=False, scripted_chunk_ms=0)
        self._golden = golden
        self.shown: dict[str, Json] = {}
        """By the name of the situation."""

    @override
    def start(self) -> None:
        self.data.mkdir(mode=0o700)
        with tarfile.open(self._golden) as archive:
            # Debian 12's Python 3.11.2 has no filters yet.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(self.data)
        self.shown = orjson.loads((self.data / SHOWN).read_bytes())
        (self.data / SHOWN).unlink()
        assert {path.name for path in self.data.iterdir()} == {STORE}
        super().start()


def holds(now: Json, before: Json) -> bool:
    """Whether everything that was shown is shown still; there may be more."""
    items: Json = before
    if isinstance(before, dict):
        told = cast("dict[str, Json]", before)
        return all(name in now and holds(now[name], told[name]) for name in told)
    if isinstance(before, list):
        return len(now) >= len(items) and all(map(holds, now, items))
    return bool(now == before)


def test_there_is_a_data_folder_to_upgrade_from() -> None:
    assert [path.name for path in GOLDEN][:1] == ["golden-0.1.tar.gz"]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
async def test_a_service_of_an_older_release_goes_on_where_it_was_killed(golden: Path) -> None:
    with Upgraded(golden) as service:
        ids = {
            name: told["state"]["id"] for name, told in service.shown.items() if "state" in told
        }
        async with HttpClient(service.url) as client:
            for name in ("chat", "approval", "queue", "long"):
                now = await shown(client, ids[name])
                assert holds(now, service.shown[name]), (name, now, service.shown[name])

            repeated = await client.send(ids["chat"], "First", key="first")
            assert repeated.headers["Idempotent-Replayed"] == "true"
            action = repeated.body["action"]  # an id named no epoch when the folder was made
            assert {**action, "id": number_of(action["id"])} == service.shown["first"]

            (call,) = service.shown["approval"]["state"]["pending_tool_calls"]
            approved = await client.act(
                ids["approval"],
                "approve_tools",
                {"tool_call_ids": [call["id"]]},
                prefer="wait=20",
            )
            assert approved.body["status"] == "idle"
            assert "42" in approved.context["messages"][-1]["content"]

            await client.act(ids["queue"], "resume")
            resumed = await client.rested(ids["queue"])
            assert resumed["messages"][0]["content"] == "Waits"
            assert answer_faults(resumed) == []

            cursor = service.shown["long"]["state"]["cursor"]
            async with client.watching(ids["long"], cursor=cursor) as seen:
                reply = await client.send(ids["long"], "Afterwards", prefer="wait=20")
                await seen.until(lambda stream: stream.cursor == reply.context["cursor"])
            assert [frame.data["resumed"] for frame in seen.of("hello")] == [True]
            assert reply.context["messages"][-2]["content"] == "Afterwards"

            whole = "".join(f"chunk {number} " for number in range(1, CHUNKS + 1))
            # So long after its beginning a turn is over: it says so, and can be had again.
            cut = await client.until_state(
                ids["streaming"], lambda state: state["status"] == "failed"
            )
            assert cut["error"]["code"] == "turn_timeout"
            await client.act(ids["streaming"], "retry")
            streamed = await client.rested(ids["streaming"])
            assert streamed["messages"][-1]["content"] == whole
