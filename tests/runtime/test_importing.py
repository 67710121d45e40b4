"""`contextd import`: checked first, whole or not at all, gone on with, taken back."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.histories import read_history
from runtime.importing import (
    ImportOptions,
    ImportReport,
    check_history,
    run_import,
    undo_import,
)
from tests.support.service import Client, serving
from tests.support.store_server import StoreServer

Json = Any


@pytest.fixture
def store_url() -> Iterator[str]:
    """A store of this test's own."""
    with StoreServer() as server:
        yield server.url


def history(tmp_path: Path, *sizes: int) -> Path:
    """A browser's conversations, of so many messages each."""
    chats = [
        {
            "id": f"chat-{number}",
            "title": f"Chat {number}",
            "messages": [
                {
                    "id": f"{number}-{index}",
                    "role": ("user", "assistant")[index % 2],
                    "content": f"{number}.{index} " + "\u2028 naïve \U0001f600" * (index % 3),
                    "created_at": 1_700_000_000_000 + index * 1_000,
                }
                for index in range(size)
            ],
        }
        for number, size in enumerate(sizes)
    ]
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"conversations": chats}))
    return path


def options(client: Client, tmp_path: Path, **more: bool) -> ImportOptions:
    """Into this service, with a report beside the file."""
    return ImportOptions(client.url, None, tmp_path / "report.json", **more)


async def messages_of(client: Client, context_id: str) -> list[Json]:
    """All messages of a context, page by page."""
    found: list[Json] = []
    at: str | None = f"/api/contexts/{context_id}/messages?limit=200"
    while at is not None:
        answer = await client.get(at)
        found += answer.json["messages"]
        link = answer.headers.get("Link")
        at = link[1 : link.index(">")] if link else None
    return found


async def in_thread(*call: Any) -> int:
    """Run a command that makes a loop of its own."""
    function, *arguments = call
    return await asyncio.to_thread(function, *arguments)


async def test_ten_thousand_messages_come_in_order_and_are_taken_back(
    tmp_path: Path, store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = history(tmp_path, 10_000, 3)
    async with serving(store_url) as service:
        client = service.client
        kept = await client.create(title="not ours")
        assert await in_thread(run_import, path, options(client, tmp_path)) == 0
        out = capsys.readouterr().out
        assert "1 of 2 conversations, 10,000 of 10,003 messages" in out
        report = ImportReport.model_validate_json((tmp_path / "report.json").read_bytes())
        first, second = report.conversations
        shown = await messages_of(client, first.context_id)
        expected = read_history(path)[0].messages
        assert [(m["role"], m["content"]) for m in shown] == [
            (m.role, m.content) for m in expected
        ]
        assert [m["client_message_id"] for m in shown] == [m.id for m in expected]
        assert shown[1]["created_at"] == "2023-11-14T22:13:21.000Z"
        assert (await client.state(second.context_id))["title"] == "Chat 1"
        went_on = await client.say(second.context_id, "And now?")
        assert went_on.json["status"] == "idle"
        assert await in_thread(undo_import, options(client, tmp_path)) == 0
        listed = await client.get("/api/contexts")
        assert [one["id"] for one in listed.json["contexts"]] == [kept]
        assert not (tmp_path / "report.json").exists()


async def test_the_same_import_again_brings_nothing_twice(
    tmp_path: Path, store_url: str
) -> None:
    path = history(tmp_path, 4, 4, 4)
    async with serving(store_url) as service:
        client = service.client
        for _ in range(2):
            assert await in_thread(run_import, path, options(client, tmp_path)) == 0
        # It was killed after the second answer and before its report.
        report = ImportReport.model_validate_json((tmp_path / "report.json").read_bytes())
        del report.conversations[1:]
        report.save(tmp_path / "report.json")
        assert await in_thread(run_import, path, options(client, tmp_path)) == 0
        listed = await client.get("/api/contexts")
        assert len(listed.json["contexts"]) == 3


async def test_nothing_is_imported_of_a_file_with_problems_unless_they_are_left_out(
    tmp_path: Path, store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = history(tmp_path, 2, 2)
    value = json.loads(path.read_text())
    value["conversations"][0]["messages"][1]["role"] = "ghost"
    path.write_text(json.dumps(value))
    async with serving(store_url) as service:
        client = service.client
        assert await in_thread(run_import, path, options(client, tmp_path)) == 1
        assert "messages[1]: unknown role 'ghost'" in capsys.readouterr().err
        assert (await client.get("/api/contexts")).json["contexts"] == []
        leaving_out = options(client, tmp_path, skip_broken=True)
        assert await in_thread(run_import, path, leaving_out) == 1
        (one,) = (await client.get("/api/contexts")).json["contexts"]
        assert one["title"] == "Chat 1"
        report = ImportReport.model_validate_json((tmp_path / "report.json").read_bytes())
        assert list(report.skipped) == ["chat-0"]


def test_a_dry_run_says_what_is_there_and_asks_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_history(history(tmp_path, 2, 3)) == 0
    out = capsys.readouterr().out
    assert "Chat 1: 3 messages, 3 of them dated" in out
    assert "2 conversations, 5 messages, 0 problems" in out
    assert check_history(tmp_path / "nowhere.json") == 1


def test_a_report_of_something_else_is_neither_gone_on_with_nor_undone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = history(tmp_path, 2)
    (tmp_path / "report.json").write_text("{}")
    nobody = ImportOptions("http://127.0.0.1:9", None, tmp_path / "report.json")
    assert run_import(path, nobody) == 1
    assert undo_import(nobody) == 1
    assert "no report of an import" in capsys.readouterr().err
    assert (tmp_path / "report.json").read_text() == "{}"


async def test_what_was_taken_back_can_be_imported_again(
    tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = history(tmp_path, 2, 2)

    def stop(text: str) -> None:
        raise InterruptedError(text)

    async with serving(store_url) as service:
        client, how = service.client, options(service.client, tmp_path)
        for is_cut_short in (True, False, False):
            assert await in_thread(run_import, path, how) == 0
            listed = (await client.get("/api/contexts")).json["contexts"]
            assert sorted(one["title"] for one in listed) == ["Chat 0", "Chat 1"]
            if is_cut_short:
                with monkeypatch.context() as patched:
                    patched.setattr("runtime.importing._say", stop)
                    with pytest.raises(InterruptedError):
                        await in_thread(undo_import, how)
            else:
                # Somebody has deleted one of them already.
                await client.send("DELETE", f"/api/contexts/{listed[0]['id']}")
                assert await in_thread(undo_import, how) == 0
        assert (await client.get("/api/contexts")).json["contexts"] == []
